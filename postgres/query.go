package postgres

import (
	"fmt"
	"strings"

	"github.com/uow-go/uow/driver"
)

// find makes the statement of a query. Lists are arrays, so that the text depends
// on the query's shape alone and connections keep few statements.
func (t *table) find(q driver.Query, row func([][]byte) error) (step, error) {
	var b strings.Builder
	var oids []uint32
	a := newArgs(len(q.Where) + 1)
	b.WriteString(t.selectRows.sql)
	for i, c := range q.Where {
		if i == 0 {
			b.WriteString(" WHERE ")
		} else {
			b.WriteString(" AND ")
		}
		sql, oid, err := t.condition(a, c)
		if err != nil {
			return step{}, err
		}
		if oid != 0 {
			oids = append(oids, oid)
		}
		b.WriteString(sql)
	}
	b.WriteString(" ORDER BY ")
	for _, o := range q.Order {
		if _, ok := t.desc.Column(o.Field); !ok {
			return step{}, fmt.Errorf("postgres: collection %s has no index %q", t.desc.Name, o.Field)
		}
		b.WriteString(quote(o.Field))
		if o.Descending {
			b.WriteString(" DESC NULLS LAST, ")
		} else {
			b.WriteString(" NULLS FIRST, ")
		}
	}
	b.WriteString("id")
	if q.Limit > 0 {
		oids = append(oids, kindOID(driver.Int))
		a.int(int64(q.Limit))
		fmt.Fprintf(&b, " LIMIT $%d", len(oids))
	}
	return step{statement: newStatement(b.String(), oids...), args: a, row: row}, nil
}

// condition appends a condition's parameter, if it has one, and returns its text
// and the parameter's type.
func (t *table) condition(a *args, c driver.Condition) (sql string, oid uint32, err error) {
	i, ok := t.desc.Column(c.Field)
	if !ok {
		return "", 0, fmt.Errorf("postgres: collection %s has no index %q", t.desc.Name, c.Field)
	}
	kind := driver.String
	if i >= 0 {
		kind = t.desc.Indexes[i].Kind
	}
	field, next := quote(c.Field), fmt.Sprintf("$%d", len(a.values)+1)
	if c.Op == driver.In {
		return in(a, field, next, kind, c.Values)
	}
	if len(c.Values) != 1 {
		return "", 0, fmt.Errorf("postgres: condition on %s has %d values, want 1", c.Field, len(c.Values))
	}
	operator := map[driver.Comparison]string{
		driver.Equal: " = ", driver.Less: " < ", driver.LessOrEqual: " <= ",
		driver.Greater: " > ", driver.GreaterOrEqual: " >= ",
	}[c.Op]
	switch {
	case operator == "":
		return "", 0, fmt.Errorf("postgres: condition on %s has an unknown comparison", c.Field)
	case c.Values[0] != nil:
		a.value(c.Values[0])
		return field + operator + next, kindOID(kind), nil
	case c.Op == driver.Equal:
		return field + " IS NULL", 0, nil
	}
	return "false", 0, nil // nothing is below or above no value
}

// in writes a condition on a list, of which NULL has to be asked for apart.
func in(a *args, field, next string, kind driver.Kind, values []driver.Value) (string, uint32, error) {
	list, null := make([]driver.Value, 0, len(values)), ""
	for _, v := range values {
		if v == nil {
			null = " OR " + field + " IS NULL"
			continue
		}
		list = append(list, v)
	}
	a.indexValues(kind, len(list), func(i int) driver.Value { return list[i] })
	return "(" + field + " = ANY(" + next + ")" + null + ")", arrayOID(kindOID(kind)), nil
}

// get makes the statement that reads rows by id.
func (t *table) get(ids []string, row func([][]byte) error) step {
	if len(ids) == 1 {
		return step{statement: t.selectOne, args: newArgs(1).text(ids[0]), row: row}
	}
	a := newArgs(len(ids)).texts(len(ids), func(i int) string { return ids[i] })
	return step{statement: t.selectMany, args: a, row: row}
}

// collect reads the columns of selectRows into rows.
func collect(rows *[]driver.Row) func([][]byte) error {
	return func(row [][]byte) error {
		*rows = append(*rows, rowOf(row))
		return nil
	}
}

func rowOf(row [][]byte) driver.Row {
	return driver.Row{ID: string(row[0]), Version: number(row[1]), Sequence: number(row[2]), Body: blob(row[3])}
}

package postgres

import (
	"fmt"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/sqlquery"
)

// find makes the statement of a query. Lists are arrays, so that the text depends
// on the query's shape alone and connections keep few statements.
func (t *table) find(q driver.Query, into *rows) (step, error) {
	d := newDialect(t, q)
	where, err := d.where(q)
	if err != nil {
		return step{}, err
	}
	tail, err := sqlquery.Tail(d, t.desc, q)
	if err != nil {
		return step{}, fmt.Errorf("postgres: %w", err)
	}
	return step{statement: newStatement(t.selectRows.sql+where+tail, d.oids...), args: d.args, into: into}, nil
}

// count makes the statement that counts what find would return.
func (t *table) count(q driver.Query, n *int64) (step, error) {
	d := newDialect(t, q)
	where, err := d.where(q)
	if err != nil {
		return step{}, err
	}
	sql := `SELECT count(*) FROM ` + t.name + where
	if q.Limit > 0 {
		sql = `SELECT count(*) FROM (SELECT FROM ` + t.name + where + d.Limit(q.Limit) + `) AS hits`
	}
	return step{statement: newStatement(sql, d.oids...), args: d.args, row: func(row [][]byte) error {
		*n = number(row[0])
		return nil
	}}, nil
}

// dialect collects the parameters of one statement.
type dialect struct {
	table *table
	args  *args
	oids  []uint32
}

func newDialect(t *table, q driver.Query) *dialect {
	return &dialect{table: t, args: newArgs(len(q.Where) + 2)}
}

func (d *dialect) where(q driver.Query) (string, error) {
	where, err := sqlquery.Where(d, d.table.desc, q)
	if err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	if where != "" {
		where = " WHERE " + where
	}
	return where, nil
}

// add notes a parameter that was added, and returns what stands for it.
func (d *dialect) add(oid uint32) string {
	d.oids = append(d.oids, oid)
	return fmt.Sprintf("$%d", len(d.oids))
}

func (d *dialect) kind(place int) driver.Kind {
	if place < 0 {
		return driver.String
	}
	return d.table.desc.Indexes[place].Kind
}

// Field implements sqlquery.Dialect.
func (d *dialect) Field(place int) string {
	if place < 0 {
		if d.table.mapped != nil {
			return d.table.mapped.idText() + ` COLLATE "C"`
		}
		return "id"
	}
	if index := d.table.desc.Indexes[place]; d.table.mapped != nil {
		field := d.table.mapped.value(place, index)
		if index.Kind == driver.String {
			field += ` COLLATE "C"`
		}
		return field
	}
	return quote(d.table.desc.Indexes[place].Name)
}

// Value implements sqlquery.Dialect.
func (d *dialect) Value(place int, v driver.Value) (string, error) {
	d.args.value(v)
	return d.add(kindOID(d.kind(place))), nil
}

// In implements sqlquery.Dialect.
func (d *dialect) In(place int, values []driver.Value) (string, error) {
	kind := d.kind(place)
	d.args.indexValues(kind, len(values), func(i int) driver.Value { return values[i] })
	list := d.add(arrayOID(kindOID(kind)))
	if m := d.table.mapped; m != nil && place < 0 { // an index serves the key as it is
		return m.key + " = ANY(" + m.ids(list) + ")", nil
	}
	return d.Field(place) + " = ANY(" + list + ")", nil
}

// Order implements sqlquery.Dialect.
func (d *dialect) Order(field string, descending bool) string {
	if descending {
		return field + " DESC NULLS LAST"
	}
	return field + " NULLS FIRST"
}

// Limit implements sqlquery.Dialect.
func (d *dialect) Limit(n int) string {
	d.args.int(int64(n))
	return " LIMIT " + d.add(kindOID(driver.Int))
}

// get makes the statement that reads rows by id.
func (t *table) get(mem *arena, ids []string, into *rows) step {
	if len(ids) == 1 {
		if into != nil {
			into.id = ids[0]
		}
		return step{statement: t.selectOne, args: mem.newArgs(1).text(ids[0]), into: into}
	}
	a := newArgs(len(ids)).texts(len(ids), func(i int) string { return ids[i] })
	return step{statement: t.selectMany, args: a, into: into}
}

func rowOf(row [][]byte) driver.Row {
	return driver.Row{ID: string(row[0]), Version: number(row[1]), Sequence: number(row[2]), Body: blob(row[3])}
}

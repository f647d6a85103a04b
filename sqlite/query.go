package sqlite

import (
	"context"
	"fmt"
	"strings"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

// find returns the statement of a query and its arguments.
func (t *table) find(q driver.Query) (string, []sqldriver.Value, error) {
	var b strings.Builder
	var args []sqldriver.Value
	b.WriteString(t.selectRows)
	if len(q.Where) == 0 {
		b.WriteString("1")
	}
	for i, condition := range q.Where {
		if i > 0 {
			b.WriteString(" AND ")
		}
		var err error
		if args, err = t.condition(&b, args, condition); err != nil {
			return "", nil, err
		}
	}
	b.WriteString(" ORDER BY ")
	for _, order := range q.Order {
		if _, ok := t.desc.Column(order.Field); !ok {
			return "", nil, fmt.Errorf("sqlite: collection %s has no index %q", t.desc.Name, order.Field)
		}
		b.WriteString(quote(order.Field))
		if order.Descending {
			b.WriteString(" DESC")
		}
		b.WriteString(", ")
	}
	b.WriteString("id")
	if q.Limit > 0 {
		b.WriteString(" LIMIT ?")
		args = append(args, int64(q.Limit))
	}
	return b.String(), args, nil
}

func (t *table) condition(b *strings.Builder, args []sqldriver.Value, c driver.Condition) ([]sqldriver.Value, error) {
	if _, ok := t.desc.Column(c.Field); !ok {
		return nil, fmt.Errorf("sqlite: collection %s has no index %q", t.desc.Name, c.Field)
	}
	field := quote(c.Field)
	if c.Op == driver.In {
		return in(b, args, field, c.Values)
	}
	if len(c.Values) != 1 {
		return nil, fmt.Errorf("sqlite: condition on %s has %d values, want 1", c.Field, len(c.Values))
	}
	operator := map[driver.Comparison]string{
		driver.Equal: " = ?", driver.Less: " < ?", driver.LessOrEqual: " <= ?",
		driver.Greater: " > ?", driver.GreaterOrEqual: " >= ?",
	}[c.Op]
	switch {
	case operator == "":
		return nil, fmt.Errorf("sqlite: condition on %s has an unknown comparison", c.Field)
	case c.Values[0] != nil:
		b.WriteString(field + operator)
		return append(args, encode(c.Values[0])), nil
	case c.Op == driver.Equal:
		b.WriteString(field + " IS NULL")
	default:
		b.WriteString("0") // nothing is below or above no value
	}
	return args, nil
}

// in writes a condition on a list, of which NULL has to be asked for apart.
func in(b *strings.Builder, args []sqldriver.Value, field string, values []driver.Value) ([]sqldriver.Value, error) {
	first, null := len(args), false
	for _, v := range values {
		if v == nil {
			null = true
			continue
		}
		args = append(args, encode(v))
	}
	n := len(args) - first
	if n > maxList {
		return nil, fmt.Errorf("sqlite: condition on %s has %d values, at most %d are possible", field, n, maxList)
	}
	switch {
	case n == 0 && !null:
		b.WriteString("0")
	case n == 0:
		b.WriteString(field + " IS NULL")
	case null:
		b.WriteString("(" + field + " IN (" + marks(listSize(n)) + ") OR " + field + " IS NULL)")
	default:
		b.WriteString(field + " IN (" + marks(listSize(n)) + ")")
	}
	return fill(args, n), nil
}

// fill repeats the last argument until the list, which has n, is as long as its
// statement.
func fill(args []sqldriver.Value, n int) []sqldriver.Value {
	if n == 0 {
		return args
	}
	for range listSize(n) - n {
		args = append(args, args[len(args)-1])
	}
	return args
}

// getRows reads rows by id.
func getRows(ctx context.Context, c *conn, t *table, ids []string) ([]driver.Row, error) {
	var found []driver.Row
	for len(ids) > 0 {
		part := ids[:min(len(ids), 256)]
		ids = ids[len(part):]
		args := make([]sqldriver.Value, 0, listSize(len(part)))
		for _, id := range part {
			args = append(args, id)
		}
		args = fill(args, len(part))
		rows, err := readRows(ctx, c, t.selectRows+"id IN ("+marks(len(args))+")", args)
		if err != nil {
			return nil, err
		}
		found = append(found, rows...)
	}
	return found, nil
}

// readRows reads the columns of selectRows.
func readRows(ctx context.Context, c *conn, query string, args []sqldriver.Value) ([]driver.Row, error) {
	var found []driver.Row
	err := c.query(ctx, func(row []sqldriver.Value) error {
		found = append(found, driver.Row{ID: text(row[0]), Version: number(row[1]), Sequence: number(row[2]), Body: blob(row[3])})
		return nil
	}, query, args...)
	return found, err
}

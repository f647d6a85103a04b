package sqlite

import (
	"context"
	"fmt"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/sqlquery"
)

// find returns the statement of a query and its arguments.
func (t *table) find(q driver.Query) (string, []sqldriver.Value, error) {
	d := &dialect{table: t}
	where, err := d.where(q)
	if err != nil {
		return "", nil, err
	}
	tail, err := sqlquery.Tail(d, t.desc, q)
	if err != nil {
		return "", nil, fmt.Errorf("sqlite: %w", err)
	}
	return t.selectRows + where + tail, d.args, nil
}

// count returns the statement that counts what find would return.
func (t *table) count(q driver.Query) (string, []sqldriver.Value, error) {
	d := &dialect{table: t}
	where, err := d.where(q)
	if err != nil {
		return "", nil, err
	}
	from := ` FROM ` + t.name + ` WHERE ` + where
	if q.Limit > 0 {
		return `SELECT count(*) FROM (SELECT 1` + from + d.Limit(q.Limit) + `)`, d.args, nil
	}
	return `SELECT count(*)` + from, d.args, nil
}

// dialect collects the arguments of one statement.
type dialect struct {
	table *table
	args  []sqldriver.Value
}

func (d *dialect) where(q driver.Query) (string, error) {
	where, err := sqlquery.Where(d, d.table.desc, q)
	if err != nil {
		return "", fmt.Errorf("sqlite: %w", err)
	}
	if where == "" {
		where = "1"
	}
	return where, nil
}

// Field implements sqlquery.Dialect.
func (d *dialect) Field(place int) string {
	switch {
	case place >= 0:
	case d.table.desc.Table == nil:
		return "id"
	default:
		return "CAST(" + d.table.key + " AS TEXT)"
	}
	return quote(d.table.desc.Indexes[place].Name)
}

// Value implements sqlquery.Dialect.
func (d *dialect) Value(place int, v driver.Value) (string, error) {
	d.args = append(d.args, d.table.encode(place, v))
	return "?", nil
}

// In implements sqlquery.Dialect.
func (d *dialect) In(place int, values []driver.Value) (string, error) {
	if len(values) > maxList {
		return "", fmt.Errorf("a list has %d values, at most %d are possible", len(values), maxList)
	}
	for _, v := range values {
		d.args = append(d.args, d.table.encode(place, v))
	}
	d.args = fill(d.args, len(values))
	field := d.table.key // an index serves it as it is
	if place >= 0 {
		field = d.Field(place)
	}
	return field + " IN (" + marks(listSize(len(values))) + ")", nil
}

// Order implements sqlquery.Dialect. SQLite has NULL first.
func (d *dialect) Order(field string, descending bool) string {
	if descending {
		return field + " DESC"
	}
	return field
}

// Limit implements sqlquery.Dialect.
func (d *dialect) Limit(n int) string {
	d.args = append(d.args, int64(n))
	return " LIMIT ?"
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
		rows, err := readRows(ctx, c, t, t.selectRows+t.key+" IN ("+marks(len(args))+")", args)
		if err != nil {
			return nil, err
		}
		found = append(found, rows...)
	}
	return found, nil
}

// readRows reads the columns of selectRows.
func readRows(ctx context.Context, c *conn, t *table, query string, args []sqldriver.Value) ([]driver.Row, error) {
	var found []driver.Row
	err := c.query(ctx, func(row []sqldriver.Value) error {
		r, err := t.row(text(row[0]), row[1:])
		found = append(found, r)
		return err
	}, query, args...)
	return found, err
}

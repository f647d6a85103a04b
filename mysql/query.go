package mysql

import (
	"fmt"
	"strings"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/sqlquery"
)

// get appends the statements that read rows by id.
func (t *table) get(s *script, ids []string, lock string, row func([]sqldriver.Value) error) {
	in(ids, func(part []string) {
		t.whereIDs(t.selectRows(s), part)
		if lock != "" && len(part) > 1 {
			s.add(" ORDER BY ", t.key)
		}
		s.add(lock).query(row)
	})
}

// versions appends the statements that read the versions of rows.
func (t *table) versions(s *script, ids []string, lock string, found map[string]int64) {
	in(ids, func(part []string) {
		t.whereIDs(s.add("SELECT ", t.keyText(), ", ", t.version, " FROM ", t.name), part).add(lock).query(func(row []sqldriver.Value) error {
			found[textOf(row[0])] = number(row[1]) - t.offset
			return nil
		})
	})
}

// find appends the statement of a query.
func (t *table) find(s *script, q driver.Query, row func([]sqldriver.Value) error) error {
	t.selectRows(s)
	if err := t.where(s, q); err != nil {
		return err
	}
	s.query(row)
	return nil
}

// where appends the conditions, the order and the limit of a query.
func (t *table) where(s *script, q driver.Query) error {
	d := &dialect{table: t}
	if err := d.condition(s, q); err != nil {
		return err
	}
	tail, err := sqlquery.Tail(d, t.desc, q)
	if err != nil {
		return fmt.Errorf("mysql: %w", err)
	}
	s.add(tail)
	return nil
}

// count appends the statement that counts what find would return.
func (t *table) count(s *script, q driver.Query, n *int64) error {
	d := &dialect{table: t}
	if q.Limit > 0 {
		s.add("SELECT COUNT(*) FROM (SELECT 1 FROM ", t.name)
	} else {
		s.add("SELECT COUNT(*) FROM ", t.name)
	}
	if err := d.condition(s, q); err != nil {
		return err
	}
	if q.Limit > 0 {
		s.add(d.Limit(q.Limit), ") AS some")
	}
	s.query(func(row []sqldriver.Value) error {
		*n = number(row[0])
		return nil
	})
	return nil
}

// dialect writes parameters as literals.
type dialect struct {
	table *table
}

func (d *dialect) condition(s *script, q driver.Query) error {
	where, err := sqlquery.Where(d, d.table.desc, q)
	if err != nil {
		return fmt.Errorf("mysql: %w", err)
	}
	if where != "" {
		s.add(" WHERE ", where)
	}
	return nil
}

// Field implements sqlquery.Dialect.
func (d *dialect) Field(place int) string {
	switch {
	case place >= 0:
	case d.table.desc.Table == nil:
		return d.table.key
	default:
		return d.table.keyText()
	}
	return d.table.columns[place]
}

// Value implements sqlquery.Dialect. What is longer than a column is compared all the
// same.
func (d *dialect) Value(place int, v driver.Value) (string, error) {
	s := &script{}
	if x, ok := v.(string); ok {
		s.text(x, unlimited)
	} else {
		d.table.value(s, place, v)
	}
	return string(s.b), s.err
}

// In implements sqlquery.Dialect.
func (d *dialect) In(place int, values []driver.Value) (string, error) {
	list := make([]string, len(values))
	for i, v := range values {
		var err error
		if list[i], err = d.Value(place, v); err != nil {
			return "", err
		}
	}
	if place < 0 { // the key as it is, which an index serves
		s := (&script{}).add(d.table.key, " IN (")
		s.list(len(values), func(i int) {
			id, _ := values[i].(string)
			if d.table.numeric {
				d.table.id(s, id)
			} else {
				s.add(list[i])
			}
		}).add(")")
		return string(s.b), s.err
	}
	return d.Field(place) + " IN (" + strings.Join(list, ", ") + ")", nil
}

// Order implements sqlquery.Dialect. The server has NULL first.
func (d *dialect) Order(field string, descending bool) string {
	if descending {
		return field + " DESC"
	}
	return field
}

// Limit implements sqlquery.Dialect.
func (d *dialect) Limit(n int) string { return fmt.Sprintf(" LIMIT %d", n) }

// collect reads the columns of selectRows into rows.
func (t *table) collect(rows *[]driver.Row) func([]sqldriver.Value) error {
	return func(row []sqldriver.Value) error {
		r := driver.Row{ID: textOf(row[0]), Version: number(row[1]) - t.offset, Sequence: number(row[2])}
		if t.desc.Table == nil {
			r.Body = blob(row[3])
		} else if err := t.decode(&r, row[3:]); err != nil {
			return err
		}
		*rows = append(*rows, r)
		return nil
	}
}

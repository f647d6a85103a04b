package sqlunit

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"io"
	"reflect"
)

// Result is one result of a query, in full.
type Result struct {
	Columns []Column
	Rows    [][]sqldriver.Value
}

// Column is what database/sql can say of a column.
type Column struct {
	Name         string
	DatabaseType string
	ScanType     reflect.Type
	Length       int64
	HasLength    bool
	Nullable     bool
	HasNullable  bool
	Precision    int64
	Scale        int64
	HasDecimal   bool
}

// rows are results that have been read.
type rows struct {
	results []Result // the current one first
	next    int
}

var (
	_ sqldriver.RowsNextResultSet              = (*rows)(nil)
	_ sqldriver.RowsColumnTypeDatabaseTypeName = (*rows)(nil)
	_ sqldriver.RowsColumnTypeLength           = (*rows)(nil)
	_ sqldriver.RowsColumnTypeNullable         = (*rows)(nil)
	_ sqldriver.RowsColumnTypePrecisionScale   = (*rows)(nil)
	_ sqldriver.RowsColumnTypeScanType         = (*rows)(nil)
)

func (r *rows) Columns() []string {
	names := make([]string, len(r.results[0].Columns))
	for i, c := range r.results[0].Columns {
		names[i] = c.Name
	}
	return names
}

func (r *rows) Next(dest []sqldriver.Value) error {
	all := r.results[0].Rows
	if r.next == len(all) {
		return io.EOF
	}
	copy(dest, all[r.next])
	all[r.next] = nil // for the collector
	r.next++
	return nil
}

func (r *rows) HasNextResultSet() bool { return len(r.results) > 1 }

func (r *rows) NextResultSet() error {
	if len(r.results) == 1 {
		return io.EOF
	}
	r.results, r.next = r.results[1:], 0
	return nil
}

func (r *rows) Close() error { return nil }

func (r *rows) ColumnTypeDatabaseTypeName(i int) string {
	return r.results[0].Columns[i].DatabaseType
}

func (r *rows) ColumnTypeLength(i int) (length int64, ok bool) {
	c := r.results[0].Columns[i]
	return c.Length, c.HasLength
}

func (r *rows) ColumnTypeNullable(i int) (nullable, ok bool) {
	c := r.results[0].Columns[i]
	return c.Nullable, c.HasNullable
}

func (r *rows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	c := r.results[0].Columns[i]
	return c.Precision, c.Scale, c.HasDecimal
}

func (r *rows) ColumnTypeScanType(i int) reflect.Type { return r.results[0].Columns[i].ScanType }

// Statements is a *sql.Tx or a *sql.Conn.
type Statements interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Exec runs a statement, for stores that are on database/sql themselves.
func Exec(ctx context.Context, s Statements, query string, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	return s.ExecContext(ctx, query, values(args)...)
}

// Query runs a query, for stores that are on database/sql themselves.
func Query(ctx context.Context, s Statements, query string, args []sqldriver.NamedValue) (results []Result, err error) {
	rows, err := s.QueryContext(ctx, query, values(args)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		r, err := read(rows)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
		if !rows.NextResultSet() {
			return results, rows.Err()
		}
	}
}

func values(args []sqldriver.NamedValue) []any {
	list := make([]any, len(args))
	for i, a := range args {
		list[i] = a.Value
		if a.Name != "" {
			list[i] = sql.Named(a.Name, a.Value)
		}
	}
	return list
}

// read reads one result.
func read(rows *sql.Rows) (r Result, err error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return r, err
	}
	for _, t := range types {
		c := Column{Name: t.Name(), DatabaseType: t.DatabaseTypeName(), ScanType: t.ScanType()}
		c.Length, c.HasLength = t.Length()
		c.Nullable, c.HasNullable = t.Nullable()
		c.Precision, c.Scale, c.HasDecimal = t.DecimalSize()
		r.Columns = append(r.Columns, c)
	}
	for rows.Next() {
		row := make([]sqldriver.Value, len(types))
		into := make([]any, len(types))
		for i := range row {
			into[i] = (*any)(&row[i])
		}
		if err := rows.Scan(into...); err != nil {
			return r, err
		}
		r.Rows = append(r.Rows, row)
	}
	return r, rows.Err()
}

package postgres

import (
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uow-go/uow/driver"
)

// native lets errors.Is find ErrRetryable in an error of the user's own SQL.
func native(err error) error {
	switch code(err) {
	case codeSerialization, codeDeadlock, codeLockNotAvailable:
		return fmt.Errorf("postgres: %w: %w", driver.ErrRetryable, err)
	}
	return err
}

// ownRows are the rows of the user's own query.
type ownRows struct{ pgx.Rows }

func (r ownRows) Err() error { return native(r.Rows.Err()) }

// ownBatch are the results of the user's own batch.
type ownBatch struct{ pgx.BatchResults }

func (b ownBatch) Exec() (pgconn.CommandTag, error) {
	tag, err := b.BatchResults.Exec()
	return tag, native(err)
}

func (b ownBatch) Query() (pgx.Rows, error) {
	rows, err := b.BatchResults.Query()
	return ownRows{rows}, native(err)
}

func (b ownBatch) QueryRow() pgx.Row {
	rows, _ := b.Query() // the row says it too
	return row{rows}
}

func (b ownBatch) Close() error { return native(b.BatchResults.Close()) }

// row is the first row of a result.
type row struct{ rows pgx.Rows }

// Scan implements pgx.Row.
func (r row) Scan(dest ...any) error {
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// batch lets the unit's end close a batch.
type batch struct{ results pgx.BatchResults }

func (b batch) Close() { _ = b.results.Close() } // the user has, or will not, read the error

// failed is a result that has an error.
type failed struct{ err error }

func (f failed) Close()                                       {}
func (f failed) Err() error                                   { return f.err }
func (f failed) CommandTag() pgconn.CommandTag                { return pgconn.CommandTag{} }
func (f failed) FieldDescriptions() []pgconn.FieldDescription { return nil }
func (f failed) Next() bool                                   { return false }
func (f failed) Scan(...any) error                            { return f.err }
func (f failed) Values() ([]any, error)                       { return nil, f.err }
func (f failed) RawValues() [][]byte                          { return nil }
func (f failed) Conn() *pgx.Conn                              { return nil }

func (f failed) TypeMap() *pgtype.Map { return pgtype.NewMap() }

// failedBatch is a batch that has an error.
type failedBatch struct{ failed }

func (f failedBatch) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, f.err }
func (f failedBatch) Query() (pgx.Rows, error)         { return f.failed, f.err }
func (f failedBatch) QueryRow() pgx.Row                { return f.failed }
func (f failedBatch) Close() error                     { return f.err }
func (f failedBatch) Tx() pgx.Tx                       { return nil }

package sqlite

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

// Handle runs the user's own SQL inside a unit. It has the methods that sqlc and
// others ask of a connection. It is had from Tx; SQL is for what takes a *sql.DB.
type Handle struct{ unit *uow.Unit }

// Tx returns the unit's transaction for the user's own SQL: what it changes is
// committed and rolled back together with everything else in the unit.
//
//	_, err := sqlite.Tx(u).ExecContext(ctx, "UPDATE stock SET n = n - 1 WHERE sku = ?", sku)
//
// Its first use waits until the unit has the database's one writer, and the unit
// keeps it until its end: all other commits wait that long, for Options.BusyTimeout
// at most, after which they fail with ErrBusy. So a unit that uses it should do
// slow things before.
//
// From then on the unit reads what is newest, its own SQL's changes included, and
// no longer from the snapshot of its earlier reads. Nothing is lost by that: the
// versions of what it has loaded are checked at the commit as always. Changes
// that repositories track are not in the database before the commit: call
// uow.Unit.Flush where the SQL must see them.
//
// SQL must not end the transaction: COMMIT and ROLLBACK make everything after them
// fail with ErrLost, and so does a write that its context interrupts, since SQLite
// then rolls back as a whole. SAVEPOINT is allowed.
//
// After the unit's end all methods return uow.ErrUnitClosed, and
// uow.ErrConcurrentUse while another goroutine uses the unit. Rows and statements
// are closed by the unit's end.
func Tx(u *uow.Unit) *Handle { return &Handle{unit: u} }

// ExecContext runs a statement that returns no rows.
func (h *Handle) ExecContext(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	err = h.use(ctx, func(tx *sql.Tx) error {
		result, err = tx.ExecContext(ctx, query, args...)
		return err
	})
	return result, err
}

// QueryContext runs a query. The rows must be closed, or read to their end, before
// the unit ends.
func (h *Handle) QueryContext(ctx context.Context, query string, args ...any) (rows *sql.Rows, err error) {
	err = h.use(ctx, func(tx *sql.Tx) error {
		rows, err = tx.QueryContext(ctx, query, args...) //nolint:rowserrcheck,sqlclosecheck // the caller reads and closes them
		return err
	})
	return rows, err
}

// QueryRowContext runs a query of one row. Its error is had from the row.
func (h *Handle) QueryRowContext(ctx context.Context, query string, args ...any) (row *sql.Row) {
	err := h.use(ctx, func(tx *sql.Tx) error {
		row = tx.QueryRowContext(ctx, query, args...)
		return nil
	})
	if err != nil {
		return failedRow(err)
	}
	return row
}

// PrepareContext prepares a statement for use within the unit. After its end the
// statement returns database/sql's ErrTxDone.
func (h *Handle) PrepareContext(ctx context.Context, query string) (stmt *sql.Stmt, err error) {
	err = h.use(ctx, func(tx *sql.Tx) error {
		stmt, err = tx.PrepareContext(ctx, query) //nolint:sqlclosecheck // the caller closes it
		return err
	})
	return stmt, err
}

// use runs fn with the unit's transaction, as an operation of the unit.
func (h *Handle) use(ctx context.Context, fn func(tx *sql.Tx) error) error {
	return h.unit.Use(ctx, func(dtx driver.Tx) error {
		tx, err := enterNative(ctx, dtx)
		if err != nil {
			return err
		}
		return fn(tx)
	})
}

// enterNative gives a unit's transaction the writer, for the user's own SQL.
func enterNative(ctx context.Context, dtx driver.Tx) (*sql.Tx, error) {
	t, err := ours(dtx)
	if err != nil {
		return nil, err
	}
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	session, err := t.upgrade(ctx)
	if err != nil {
		return nil, err
	}
	if err := session.alive(); err != nil {
		return nil, err
	}
	return session.tx, nil
}

// ours finds this package's transaction, also inside those of packages that wrap
// a store.
func ours(dtx driver.Tx) (*tx, error) {
	for inner := dtx; ; {
		if t, ok := inner.(*tx); ok {
			return t, nil
		}
		wrapper, ok := inner.(interface{ Unwrap() driver.Tx })
		if !ok {
			return nil, fmt.Errorf("sqlite: the unit's transaction is a %T, of another store", dtx)
		}
		inner = wrapper.Unwrap()
	}
}

// failedRow returns a row that has an error: database/sql makes such rows only
// where a connection can't be had.
func failedRow(err error) *sql.Row {
	db := sql.OpenDB(refusal{err})
	row := db.QueryRowContext(context.Background(), "")
	_ = db.Close() // it never had a connection
	return row
}

// refusal is a connector that always fails.
type refusal struct{ err error }

func (r refusal) Connect(context.Context) (sqldriver.Conn, error) { return nil, r.err }
func (r refusal) Driver() sqldriver.Driver                        { return r }
func (r refusal) Open(string) (sqldriver.Conn, error)             { return nil, r.err }

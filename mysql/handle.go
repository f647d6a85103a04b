package mysql

import (
	"context"
	"database/sql"
	"fmt"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

// Handle runs the user's own SQL inside a unit. It has the methods that sqlc, bun
// and GORM ask of a connection. It is had from Tx.
type Handle struct{ unit *uow.Unit }

// Tx returns the unit's transaction for the user's own SQL: what it changes is
// committed and rolled back together with everything else in the unit.
//
//	_, err := mysql.Tx(u).ExecContext(ctx, "UPDATE stock SET n = n - 1 WHERE sku = ?", sku)
//
// The SQL runs at Options.Isolation, and at SERIALIZABLE in a serializable unit. At
// ReadCommitted its first use ends the snapshot of the unit's earlier reads: from
// then on the unit reads what is newest, its own SQL's changes included. Nothing is
// lost by that, since the versions of what it has loaded are checked at the commit
// as always. Only after a flush or a locking read, the SQL runs in the transaction of
// those.
//
// Changes that repositories track are not in the database before the commit: call
// uow.Unit.Flush where the SQL must see them.
//
// SQL must not end the transaction, which statements that define tables do too: the
// server commits before them. After that the unit fails with ErrRolledBack. It must
// not change the session's autocommit, sql_mode or character set, nor leave
// anything else behind in it, which goes back to the pool. SAVEPOINT is allowed, with
// names that do not begin with uow_. A statement that failed has done nothing, and the
// unit can go on, unless the server has rolled back its transaction, as it does to end
// a deadlock. A context that ends while a statement runs costs the unit its
// connection, and so ends it.
//
// Statements are prepared, each of them is one statement, and parameters are sent
// apart from it, whatever the dsn says of interpolateParams.
//
// After the unit's end all methods return uow.ErrUnitClosed, and
// uow.ErrConcurrentUse while another goroutine uses the unit. Rows must be read to
// their end, or closed, before the unit is used again; rows and statements are
// closed by the unit's end.
func Tx(u *uow.Unit) *Handle { return &Handle{unit: u} }

// ExecContext runs a statement that returns no rows.
func (h *Handle) ExecContext(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	err = h.use(ctx, func(tx *sql.Tx) error {
		result, err = tx.ExecContext(ctx, query, args...)
		return err
	})
	return result, err
}

// QueryContext runs a query.
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
	return h.unit.Use(ctx, func(dtx driver.Tx) error { return inside(ctx, dtx, fn) })
}

// inside runs fn with the transaction.
func inside(ctx context.Context, dtx driver.Tx, fn func(tx *sql.Tx) error) error {
	t, err := ours(dtx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.enterNative(ctx); err != nil {
		return err
	}
	return fn(t.own.tx)
}

// enterNative makes sure that there is a transaction in which the user's own SQL can
// run, with savepoints for nested parts, which it can't undo otherwise. From then on
// statements do not commit by themselves, so that none can happen outside of the
// transaction when the server has rolled that back, and a savepoint shows at the
// commit whether it is still the same.
func (t *tx) enterNative(ctx context.Context) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	t.leaveSnapshot() // which the user's own SQL ends
	if err := t.connect(ctx); err != nil {
		return err
	}
	s, first := newScript(), !t.native
	if first {
		if err := t.beginNative(s); err != nil {
			return err
		}
		t.guard = t.taken()
		s.do("SET autocommit = 0").do("SAVEPOINT " + guard)
	}
	t.savepoints(s)
	if len(s.steps) > 0 {
		t.begun, t.native = true, true
		if _, err := t.run(ctx, s); err != nil {
			return t.fail(t.store.wrap(ctx, "begin", err))
		}
		t.savepointsTaken()
	}
	if t.own == nil {
		own, err := newBridge(t)
		if err != nil {
			return t.fail(err)
		}
		t.own = own
	}
	return nil
}

// beginNative appends the beginning of a transaction for the user's own SQL.
func (t *tx) beginNative(s *script) error {
	level := t.store.options.Isolation
	if t.serializable {
		level = Serializable
	}
	fits := level == max(t.store.options.Isolation, RepeatableRead)
	if t.begun && !fits && !t.flushed && !t.locked && t.taken() == 0 {
		t.store.beginAnew(s, level) // which ends the snapshot
		return nil
	}
	return t.opening(s, level, false)
}

// ours finds this package's transaction, also inside those of packages that wrap a
// store.
func ours(dtx driver.Tx) (*tx, error) {
	for inner := dtx; ; {
		if t, ok := inner.(*tx); ok {
			return t, nil
		}
		wrapper, ok := inner.(interface{ Unwrap() driver.Tx })
		if !ok {
			return nil, fmt.Errorf("mysql: the unit's transaction is a %T, of another store", dtx)
		}
		inner = wrapper.Unwrap()
	}
}

// failedRow returns a row that has an error: database/sql makes such rows only
// itself, from a connection that fails.
func failedRow(err error) *sql.Row {
	db := sql.OpenDB(failing{err})
	row := db.QueryRowContext(context.Background(), "")
	_ = db.Close() // it never had a connection
	return row
}

// failing is a connector that fails.
type failing struct{ err error }

// Connect implements driver.Connector of database/sql.
func (f failing) Connect(context.Context) (sqldriver.Conn, error) { return nil, f.err }

// Driver implements driver.Connector of database/sql.
func (f failing) Driver() sqldriver.Driver { return f }

// Open implements driver.Driver of database/sql.
func (f failing) Open(string) (sqldriver.Conn, error) { return nil, f.err }

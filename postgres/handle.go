package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

// Handle runs the user's own SQL inside a unit. It has the methods of pgx that sqlc
// and others ask of a connection. It is had from Tx; SQL is for what takes a *sql.DB.
type Handle struct{ unit *uow.Unit }

// Tx returns the unit's transaction for the user's own SQL: what it changes is
// committed and rolled back together with everything else in the unit.
//
//	_, err := postgres.Tx(u).Exec(ctx, "UPDATE stock SET n = n - 1 WHERE sku = $1", sku)
//
// The SQL runs at Options.Isolation. At ReadCommitted its first use ends the
// snapshot of the unit's earlier reads: from then on the unit reads what is newest,
// its own SQL's changes included. Nothing is lost by that, since the versions of
// what it has loaded are checked at the commit as always. Only after a flush, which
// has written in the snapshot, the SQL runs there too.
//
// Changes that repositories track are not in the database before the commit: call
// Flush where the SQL must see them.
//
// SQL must not end the transaction: after COMMIT or ROLLBACK the unit fails with
// ErrRolledBack. After a statement that failed the unit can only be rolled back,
// unless it ran in a nested unit, or the SQL itself has set a savepoint. A context
// that ends while a statement runs costs the unit its connection, and so ends it.
//
// After the unit's end all methods return uow.ErrUnitClosed, and
// uow.ErrConcurrentUse while another goroutine uses the unit. Rows and batches must
// be read to their end, or closed, before the unit is used again; the unit's end
// closes them.
func Tx(u *uow.Unit) *Handle { return &Handle{unit: u} }

// Exec runs a statement that returns no rows.
func (h *Handle) Exec(ctx context.Context, sql string, arguments ...any) (tag pgconn.CommandTag, err error) {
	err = h.use(ctx, func(_ *tx, c *pgx.Conn) error {
		tag, err = c.Exec(ctx, sql, arguments...)
		err = native(err)
		return err
	})
	return tag, err
}

// Query runs a query.
func (h *Handle) Query(ctx context.Context, sql string, arguments ...any) (rows pgx.Rows, err error) {
	err = h.use(ctx, func(t *tx, c *pgx.Conn) error {
		rows, err = c.Query(ctx, sql, arguments...) //nolint:sqlclosecheck // the caller reads them
		if err != nil {
			return native(err)
		}
		rows = ownRows{rows}
		t.results = rows
		return nil
	})
	if err != nil {
		return failed{err}, err
	}
	return rows, nil
}

// QueryRow runs a query of one row. Its error is had from the row.
func (h *Handle) QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row {
	rows, err := h.Query(ctx, sql, arguments...)
	if err != nil {
		return failed{err}
	}
	return row{rows}
}

// SendBatch sends a batch. It must not begin a transaction (pgx.Batch.BeginTx).
func (h *Handle) SendBatch(ctx context.Context, b *pgx.Batch) (results pgx.BatchResults) {
	err := h.use(ctx, func(t *tx, c *pgx.Conn) error {
		results = ownBatch{c.SendBatch(ctx, b)}
		t.results = batch{results}
		return nil
	})
	if err != nil {
		return failedBatch{failed{err}}
	}
	return results
}

// CopyFrom copies rows into a table by COPY.
func (h *Handle) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (n int64, err error) {
	err = h.use(ctx, func(_ *tx, c *pgx.Conn) error {
		n, err = c.CopyFrom(ctx, table, columns, rows)
		return native(err)
	})
	return n, err
}

// Flush sends the unit's changes so far, for SQL that must see them: it is
// uow.Unit.Flush.
func (h *Handle) Flush(ctx context.Context) error { return h.unit.Flush(ctx) }

// use runs fn with the unit's transaction, as an operation of the unit.
func (h *Handle) use(ctx context.Context, fn func(t *tx, c *pgx.Conn) error) error {
	return h.unit.Use(ctx, func(dtx driver.Tx) error { return inside(ctx, dtx, fn) })
}

// inside runs fn with a unit's transaction, for the user's own SQL.
func inside(ctx context.Context, dtx driver.Tx, fn func(t *tx, c *pgx.Conn) error) error {
	t, err := ours(dtx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.enterNative(ctx); err != nil {
		return err
	}
	return fn(t, t.conn.Conn())
}

// enterNative makes sure that there is a transaction in which the user's own SQL
// can run, with savepoints for nested parts, which it can't undo otherwise.
func (t *tx) enterNative(ctx context.Context) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	if t.conn != nil && t.conn.Conn().IsClosed() {
		return errLost
	}
	if t.conn != nil && t.conn.Conn().PgConn().IsBusy() {
		return errBusy
	}
	level := t.isolation()
	var steps []step
	if t.begun && level == ReadCommitted && !t.native && !t.flushed && len(t.savepoints()) == len(t.nested) {
		steps = append(steps, plain(t.store.sql.commit), plain(t.store.sql.begin[level]))
		steps = append(steps, t.savepoints()...)
	} else {
		opening, err := t.opening(level)
		if err != nil {
			return err
		}
		steps = opening
	}
	if len(steps) > 0 {
		if failed, err := t.start(ctx, steps, func() {}); err != nil {
			t.savepointsMaybeTaken(steps, failed)
			return t.store.wrap(ctx, "begin", err)
		}
		t.savepointsTaken()
	}
	t.leaveSnapshot() // what follows sees what is newest
	t.native = true
	return nil
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
			return nil, fmt.Errorf("postgres: the unit's transaction is a %T, of another store", dtx)
		}
		inner = wrapper.Unwrap()
	}
}

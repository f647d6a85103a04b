package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow/driver"
)

// tx is one unit's transaction. It has a connection from its first read, flush or
// own SQL on, and a transaction of the server's from then on: before there is
// nothing to undo.
type tx struct {
	store *Store

	mu    sync.Mutex // a unit's goroutine, and Store.Close
	conn  *pgxpool.Conn
	begun bool // the server has a transaction open
	ended bool
	// failed is why the transaction can only be rolled back.
	failed error

	flushed  bool // something was written by Flush
	native   bool // the user's own SQL ran
	appended bool // Flush has appended messages
	nested   []nested
	results  closer // of the user's own SQL, maybe still open
}

// closer is what the user reads own results from.
type closer interface{ Close() }

// cleanup is the context of what must happen whatever became of the caller's.
func cleanup() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}

// Begin implements driver.Store. It costs nothing.
func (s *Store) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if s.closed.Load() {
		return nil, ErrClosed
	}
	return &tx{store: s}, nil
}

// usable reports why nothing can be done, with mu held.
func (t *tx) usable(ctx context.Context) error {
	if t.conn != nil { // the user's own SQL may have ended the transaction
		c := t.conn.Conn()
		t.begun = !c.IsClosed() && c.PgConn().TxStatus() != 'I'
	}
	switch {
	case t.store.closed.Load():
		return ErrClosed
	case t.ended:
		return errEnded
	case t.failed != nil:
		return t.failed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return nil
}

// connect gives the transaction a connection.
func (t *tx) connect(ctx context.Context) error {
	if t.conn != nil {
		return nil
	}
	c, err := t.store.acquire(ctx)
	if err != nil {
		return err
	}
	if err := t.store.adopt(t); err != nil {
		c.Release()
		return err
	}
	t.conn = c
	return nil
}

// run sends steps on the transaction's connection.
func (t *tx) run(ctx context.Context, steps []step) (failed int, err error) {
	c := t.conn.Conn()
	failed, err = t.store.run(ctx, c, steps)
	t.begun = !c.IsClosed() && c.PgConn().TxStatus() != 'I'
	return failed, err
}

// Get implements driver.Tx.
func (t *tx) Get(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	table, err := t.store.table(collection)
	if err != nil {
		return nil, err
	}
	var rows []driver.Row
	if err := t.read(ctx, table.get(ids, collect(&rows))); err != nil {
		return nil, err
	}
	return rows, nil
}

// Find implements driver.Tx.
func (t *tx) Find(ctx context.Context, collection string, q driver.Query) ([]driver.Row, error) {
	table, err := t.store.table(collection)
	if err != nil {
		return nil, err
	}
	var rows []driver.Row
	query, err := table.find(q, collect(&rows))
	if err != nil {
		return nil, err
	}
	if err := t.read(ctx, query); err != nil {
		return nil, err
	}
	return rows, nil
}

// Count implements driver.Tx.
func (t *tx) Count(ctx context.Context, collection string, q driver.Query) (n int64, err error) {
	table, err := t.store.table(collection)
	if err != nil {
		return 0, err
	}
	query, err := table.count(q, &n)
	if err != nil {
		return 0, err
	}
	return n, t.read(ctx, query)
}

// read runs a query in the unit's snapshot, which the first one takes in the same
// round trip.
func (t *tx) read(ctx context.Context, query step) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx); err != nil {
		return err
	}
	if query.args.err != nil {
		return query.args.err
	}
	if err := t.connect(ctx); err != nil {
		return err
	}
	steps := []step{query}
	if !t.begun {
		if t.native || t.flushed { // the transaction is gone
			return t.lost()
		}
		steps = []step{plain(t.store.sql.begin[t.snapshot()]), query}
	}
	if _, err := t.run(ctx, steps); err != nil {
		return t.store.wrap(ctx, "read", err)
	}
	return nil
}

// lost says why there is no transaction any more.
func (t *tx) lost() error {
	if t.conn != nil && t.conn.Conn().IsClosed() {
		return errLost
	}
	return ErrRolledBack
}

// snapshot is the level of transactions that read: they need a snapshot.
func (t *tx) snapshot() Isolation { return max(t.store.options.Isolation, RepeatableRead) }

// Rollback implements driver.Tx.
func (t *tx) Rollback() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rollback()
	return nil
}

// rollback ends the transaction, with mu held. Where the server can't be told, it
// finds out by the end of the connection, which is a rollback too.
func (t *tx) rollback() {
	t.ended = true
	t.abort()
	t.release()
}

// abort tells the server to roll back, and leaves the connection idle or closed.
func (t *tx) abort() {
	if t.conn == nil {
		return
	}
	c := t.conn.Conn()
	if !c.IsClosed() && (t.begun || c.PgConn().TxStatus() != 'I') && !c.PgConn().IsBusy() {
		ctx, cancel := cleanup()
		defer cancel()
		_, err := t.run(ctx, []step{plain(t.store.sql.rollback)})
		if err == nil && !t.begun {
			return
		}
		destroy(c)
	}
	if c.PgConn().IsBusy() { // results that the user has left open
		destroy(c)
	}
	t.begun = false
}

// destroy closes a connection that is of no use any more.
func destroy(c *pgx.Conn) {
	ctx, cancel := cleanup()
	defer cancel()
	_ = c.Close(ctx) // the pool throws it away
}

// release gives the connection back.
func (t *tx) release() {
	if t.conn == nil {
		return
	}
	t.store.forget(t)
	t.conn.Release()
	t.conn, t.begun = nil, false
}

// discard takes the connection away from a unit that is still open.
func (t *tx) discard() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		return
	}
	destroy(t.conn.Conn())
	t.release()
	t.failed = ErrClosed
}

// closeResults ends what the user has left open of own queries.
func (t *tx) closeResults() {
	if t.results != nil {
		t.results.Close()
		t.results = nil
	}
}

// fail rolls the transaction back because of err, which is what it says from then
// on.
func (t *tx) fail(err error) error {
	t.failed = err
	t.abort()
	t.release()
	return err
}

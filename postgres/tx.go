package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/sharedread"
)

// tx is one unit's transaction. It has a connection from its first read, flush or
// own SQL on, and a transaction of the server's from then on: before there is
// nothing to undo.
type tx struct {
	store   *Store
	options driver.TxOptions

	mu    sync.Mutex // a unit's goroutine, and Store.Close
	conn  *pgxpool.Conn
	begun bool // the server has a transaction open
	// snapshot is that of the unit's first read, when others share it.
	snapshot *snapshot
	ended    bool
	// failed is why the transaction can only be rolled back.
	failed error

	flushed  bool // something was written by Flush
	native   bool // the user's own SQL ran
	appended bool // Flush has appended messages
	nested   []nested
	results  closer // of the user's own SQL, maybe still open

	mem *arena // until the end
	got rows   // of a read that is under way
}

// closer is what the user reads own results from.
type closer interface{ Close() }

// cleanupTime is how long what must happen may take, whatever became of the
// caller's context, which cleanup replaces.
const cleanupTime = 5 * time.Second

func cleanup() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), cleanupTime)
}

// Begin implements driver.Store. It costs nothing.
func (s *Store) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if s.closed.Load() {
		return nil, ErrClosed
	}
	return &tx{store: s, options: options}, nil
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
	return t.own(c)
}

// own makes a connection the transaction's.
func (t *tx) own(c *pgxpool.Conn) error {
	if err := t.store.adopt(t); err != nil {
		c.Release()
		return err
	}
	t.conn = c
	return nil
}

// connectAlive is connect for what must not be sent twice: it does not take a
// connection that has died in the pool.
func (t *tx) connectAlive(ctx context.Context) error {
	for t.conn == nil {
		if err := t.connect(ctx); err != nil {
			return err
		}
		if c := t.conn.Conn(); used(c) && !alive(c) {
			destroy(c)
			t.giveBack()
		}
	}
	return nil
}

// start sends the first steps of a transaction. They can't have been committed,
// whatever the connection says: where one of the pool turns out to have died there,
// they are sent again on another. reset, where there is one, is called before that, and
// rows that were read are forgotten.
func (t *tx) start(ctx context.Context, steps []step, reset func()) (failed int, err error) {
	for {
		fresh := t.conn == nil
		if err := t.connect(ctx); err != nil {
			return 0, err
		}
		again := fresh && used(t.conn.Conn())
		failed, err = t.run(ctx, steps)
		if err == nil || !again || !t.conn.Conn().IsClosed() || ctx.Err() != nil || t.store.closed.Load() {
			return failed, err
		}
		t.giveBack()
		t.got.list = nil
		if reset != nil {
			reset()
		}
	}
}

// run sends steps on the transaction's connection.
func (t *tx) run(ctx context.Context, steps []step) (failed int, err error) {
	c := t.conn.Conn()
	failed, err = t.store.run(ctx, c, steps)
	t.begun = !c.IsClosed() && c.PgConn().TxStatus() != 'I'
	return failed, err
}

// runFor is run with a limit instead of a context.
func (t *tx) runFor(limit time.Duration, steps []step) (failed int, err error) {
	c := t.conn.Conn()
	failed, err = t.store.runFor(limit, c, steps)
	t.begun = !c.IsClosed() && c.PgConn().TxStatus() != 'I'
	return failed, err
}

// Get implements driver.Tx.
func (t *tx) Get(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	table, err := t.store.table(collection)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	crowded := t.store.crowd.Enter()
	defer t.store.crowd.Leave()
	if table.mapped == nil && len(ids) <= sharedread.MaxIDs && (t.readsOn() || crowded && t.fresh()) && !refusesIDs(ids) { // alone it gets its error
		if err := t.usable(ctx); err != nil {
			return nil, err
		}
		if t.readsOn() {
			return t.getOn(ctx, table, ids)
		}
		if found, ok, err := t.getTogether(ctx, table, ids); ok || err != nil {
			return found, err
		}
	}
	t.got = rows{table: table}
	if err := t.read(ctx, table.get(t.arena(), ids, &t.got), nil); err != nil {
		return nil, err
	}
	return t.got.take(), nil
}

// fresh reports whether nothing has happened in the transaction, and others may share
// what does.
func (t *tx) fresh() bool {
	return t.conn == nil && t.snapshot == nil && !t.flushed && !t.native && t.isolation() == ReadCommitted
}

// readsOn reports whether the unit has nothing but a snapshot that others share.
func (t *tx) readsOn() bool {
	return t.snapshot != nil && t.conn == nil && !t.flushed && !t.native
}

// Find implements driver.Tx.
func (t *tx) Find(ctx context.Context, collection string, q driver.Query) ([]driver.Row, error) {
	table, err := t.store.table(collection)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got = rows{table: table}
	query, err := table.find(q, &t.got)
	if err != nil {
		return nil, err
	}
	t.store.crowd.Enter()
	defer t.store.crowd.Leave()
	if err := t.read(ctx, query, nil); err != nil {
		return nil, err
	}
	return t.got.take(), nil
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
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store.crowd.Enter()
	defer t.store.crowd.Leave()
	return n, t.read(ctx, query, func() { n = 0 })
}

// read runs a query in the unit's snapshot, which the first one takes in the same
// round trip, with mu held.
func (t *tx) read(ctx context.Context, query step, again func()) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	if query.args.err != nil {
		return query.args.err
	}
	steps, err := t.entering(ctx)
	if err != nil {
		return err
	}
	if _, err := t.start(ctx, append(steps, query), again); err != nil {
		return t.store.wrap(ctx, "read", err)
	}
	t.leaveSnapshot()
	return nil
}

// entering returns the steps by which the unit gets its snapshot, where it has no
// transaction of its own yet.
func (t *tx) entering(ctx context.Context) ([]step, error) {
	if t.begun {
		return nil, nil
	}
	if t.native || t.flushed { // the transaction is gone
		return nil, t.lost()
	}
	begin := plain(t.store.sql.begin[t.level()])
	if t.options.ReadOnly && t.level() == RepeatableRead {
		begin = plain(t.store.sql.beginReading)
	}
	steps := append(t.arena().newSteps(3), begin)
	if t.snapshot == nil {
		return steps, nil
	}
	set, err := t.store.export(ctx, t.snapshot)
	return append(steps, plain(set)), err
}

// lost says why there is no transaction any more.
func (t *tx) lost() error {
	if t.conn != nil && t.conn.Conn().IsClosed() {
		return errLost
	}
	return ErrRolledBack
}

// level is that of transactions that read: they need a snapshot.
func (t *tx) level() Isolation { return max(t.isolation(), RepeatableRead) }

// isolation is the level of what the unit writes.
func (t *tx) isolation() Isolation {
	if t.options.Serializable {
		return Serializable
	}
	return t.store.options.Isolation
}

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
	t.leaveArena()
}

// abort tells the server to roll back, and leaves the connection idle or closed.
func (t *tx) abort() {
	if t.conn == nil {
		return
	}
	c := t.conn.Conn()
	if !c.IsClosed() && c.PgConn().TxStatus() != 'I' && !c.PgConn().IsBusy() {
		_, err := t.runFor(cleanupTime, []step{plain(t.store.sql.rollback)})
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
	t.leaveSnapshot()
	t.giveBack()
}

func (t *tx) giveBack() {
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

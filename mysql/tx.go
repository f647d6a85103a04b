package mysql

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/sharedread"
)

// tx is one unit's transaction. It has a connection from its first read, flush or
// own SQL on, and a transaction of the server's from then on: before there is
// nothing to undo.
type tx struct {
	store        *Store
	readOnly     bool
	serializable bool

	mu     sync.Mutex  // a unit's goroutine, and Store.Close
	shared *sharedRead // the snapshot, as long as it is not the unit's own
	conn   *session
	begun  bool // the server has a transaction open, unless the user's own SQL has ended it
	ended  bool
	// failed is why the transaction can only be rolled back.
	failed error

	state  // what the transaction has done
	nested []nested
	rows   []*driver.Write       // that were flushed
	own    *bridge               // to the user's own SQL
	guard  int                   // how many savepoints were taken when the guard was
	lost   atomic.Pointer[error] // what the user's own SQL has met that ended the transaction
}

// state is what the end of a nested part takes back.
type state struct {
	snapshot bool // something was read
	locked   bool // rows were locked
	flushed  bool // something was written by Flush
	native   bool // the user's own SQL ran
	marked   bool // the unit's marker was written
	appended bool // Flush has appended messages
	written  int  // how many of tx.rows
}

// Begin implements driver.Store. It costs nothing.
func (s *Store) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if s.closed.Load() {
		return nil, ErrClosed
	}
	return &tx{store: s, readOnly: options.ReadOnly, serializable: options.Serializable}, nil
}

// usable reports why nothing can be done, with mu held.
func (t *tx) usable(ctx context.Context) error {
	if err := t.lost.Load(); err != nil && t.failed == nil {
		t.failed = *err
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
	case t.conn == nil:
		return nil
	case t.own.busy():
		return errBusy
	case !t.conn.alive():
		t.begun = false
		if t.flushed || t.native || t.locked || t.snapshot {
			return errLost
		}
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
	return t.use(c)
}

// use makes a connection the transaction's.
func (t *tx) use(c *session) error {
	if err := t.store.adopt(t); err != nil {
		c.release()
		return err
	}
	t.conn = c
	return nil
}

// run sends a script on the transaction's connection.
func (t *tx) run(ctx context.Context, s *script) (all bool, err error) {
	all, err = t.conn.run(ctx, s, t.store.maxPacket)
	if err != nil && (t.conn.dead || t.store.lost(err)) {
		t.begun = false
	}
	return all, err
}

// level is that of the transaction in which the unit writes where it has not written
// in its snapshot.
func (t *tx) level() Isolation {
	if t.serializable { // whose ranges are locked with the gaps in them
		return max(t.store.options.Isolation, RepeatableRead)
	}
	return t.store.options.Isolation
}

// optimistic says that the commit writes in a new transaction.
func (t *tx) optimistic() bool {
	return !t.flushed && !t.native && !t.locked && (t.store.options.Isolation == ReadCommitted)
}

// begin appends the beginning of a transaction. Its snapshot is taken by its first
// read that does not lock.
func (s *Store) begin(sc *script, level Isolation, readOnly bool) {
	switch level {
	case s.ownLevel:
	case ReadCommitted:
		sc.do("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
	case RepeatableRead:
		sc.do("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
	case Serializable:
		sc.do("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
	}
	if readOnly {
		sc.do("START TRANSACTION READ ONLY")
	} else {
		sc.do("START TRANSACTION")
	}
}

// beginAnew appends the end of a transaction that has only read, and the beginning of
// another.
func (s *Store) beginAnew(sc *script, level Isolation) {
	if level != s.ownLevel { // START TRANSACTION commits too, but the level is set before
		sc.do("COMMIT")
	}
	s.begin(sc, level, false)
}

// opening appends what a statement of the unit's transaction needs before it: a
// transaction where there is none, and savepoints for nested parts where it could
// leave a trace.
func (t *tx) opening(s *script, level Isolation, trace bool) error {
	if !t.begun {
		if t.native || t.flushed || t.locked || t.snapshot {
			return t.gone()
		}
		t.store.begin(s, level, t.readOnly)
	}
	if trace {
		t.savepoints(s)
	}
	return nil
}

// gone says why there is no transaction any more.
func (t *tx) gone() error {
	if t.conn != nil && !t.conn.alive() {
		return errLost
	}
	return ErrRolledBack
}

// Get implements driver.Tx.
func (t *tx) Get(ctx context.Context, collection string, ids []string) (rows []driver.Row, err error) {
	table, err := t.store.table(collection)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	crowded := t.store.crowd.Enter()
	defer t.store.crowd.Leave()
	if crowded && t.fresh() && table.desc.Table == nil && len(ids) <= sharedread.MaxIDs {
		if err := t.usable(ctx); err != nil {
			return nil, err
		}
		if rows, ok, err := t.getTogether(ctx, table, ids); ok || err != nil {
			return rows, err
		}
	}
	err = t.read(ctx, func(s *script) error {
		rows = nil
		table.get(s, ids, "", table.collect(&rows))
		return nil
	})
	if err == nil && t.shared != nil {
		t.shared.got(table, ids, rows)
	}
	return rows, err
}

// fresh reports whether nothing has happened in the transaction, and others may share
// what does.
func (t *tx) fresh() bool {
	return t.conn == nil && t.shared == nil && t.state == (state{}) && t.level() == ReadCommitted
}

// Find implements driver.Tx.
func (t *tx) Find(ctx context.Context, collection string, q driver.Query) (rows []driver.Row, err error) {
	table, err := t.store.table(collection)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store.crowd.Enter()
	defer t.store.crowd.Leave()
	err = t.read(ctx, func(s *script) error {
		rows = nil
		return table.find(s, q, table.collect(&rows))
	})
	if err == nil && t.shared != nil {
		t.shared.found(table, q, rows)
	}
	return rows, err
}

// Count implements driver.Tx.
func (t *tx) Count(ctx context.Context, collection string, q driver.Query) (n int64, err error) {
	table, err := t.store.table(collection)
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store.crowd.Enter()
	defer t.store.crowd.Leave()
	err = t.read(ctx, func(s *script) error { return table.count(s, q, &n) })
	if err == nil && t.shared != nil {
		t.shared.counted(table, q, n)
	}
	return n, err
}

// read runs a query in the unit's snapshot, which the first one takes in the same
// round trip, with mu held.
func (t *tx) read(ctx context.Context, query func(s *script) error) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	if t.shared != nil {
		return t.readOn(ctx, query)
	}
	s := newScript()
	if err := t.opening(s, max(t.store.options.Isolation, RepeatableRead), false); err != nil {
		return err
	}
	if err := query(s); err != nil {
		return err
	}
	if s.err != nil {
		return s.err
	}
	if err := t.connect(ctx); err != nil {
		return err
	}
	began := !t.begun
	t.begun = true
	if _, err := t.run(ctx, s); err != nil {
		t.begun = t.begun && !began
		if began && !t.conn.dead {
			t.conn.rollback(t.store.maxPacket)
		}
		return t.readFailed(ctx, err)
	}
	t.snapshot = true
	return nil
}

// readFailed says why a read failed, and keeps it where that has ended the
// transaction.
func (t *tx) readFailed(ctx context.Context, err error) error {
	wrapped := t.store.wrap(ctx, "read", err)
	if t.store.lost(err) && t.failed == nil {
		t.failed = wrapped
	}
	return wrapped
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
}

// abort tells the server to roll back, and leaves the connection idle or dead.
func (t *tx) abort() {
	if t.conn == nil {
		return
	}
	t.own.close()
	if t.own != nil && t.own.broken.Load() {
		t.conn.dead = true
	}
	s := newScript()
	if t.begun || t.native {
		s.do("ROLLBACK")
	}
	if t.native {
		s.do("SET autocommit = 1")
	}
	if len(s.steps) > 0 && t.conn.alive() {
		ctx, cancel := cleanup()
		defer cancel()
		if _, err := t.run(ctx, s); err != nil {
			t.conn.dead = true
		}
	}
	t.begun, t.native = false, false
}

// release gives the connection back, and the snapshot.
func (t *tx) release() {
	t.leaveSnapshot()
	t.giveBack()
}

func (t *tx) giveBack() {
	if t.conn == nil {
		return
	}
	t.store.forget(t)
	t.conn.release()
	t.conn, t.begun = nil, false
}

// discard takes the connection away from a unit that is still open.
func (t *tx) discard() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		return
	}
	t.own.close()
	t.conn.dead = true
	t.release()
	t.failed = ErrClosed
}

// fail rolls the transaction back because of err, which is what it says from then
// on.
func (t *tx) fail(err error) error {
	t.failed = err
	t.abort()
	t.release()
	return err
}

package sqlite

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow/driver"
)

// request is one who wants the writer: to have something written by whoever
// leads, or, when exclusive, to have its connection.
type request struct {
	cs        *driver.ChangeSet   // the change set of a unit, or
	work      func(c *conn) error // something else to write; it may run again
	exclusive bool

	own      map[string][]string // ids that the unit has flushed before, by collection
	adjusted []adjustment        // what inserts found in the tombstones
	err      error               // the outcome
	wake     chan signal
}

// signal tells one who waits how the waiting ended.
type signal uint8

const (
	settled signal = iota // request.err is the outcome
	leader                // the writer is yours
)

// owner says who has the writer.
type owner uint8

const (
	nobody  owner = iota
	group         // a leader
	session       // a unit that runs its own SQL
)

// writer has the connection that writes, which one caller at a time may use. See
// the package's documentation for how callers take turns.
type writer struct {
	store *Store

	mu     sync.Mutex
	owner  owner
	queue  []*request
	closed bool
	idle   *sync.Cond // signalled when the owner leaves a closed writer

	// The rest belongs to the owner.
	conn     *conn // nil when it broke and could not be replaced yet
	expected int   // how many may be about to come
	group    []*request
	batch    []entry
	inserts  [maxRows + 1]string
	// position is that of the next message, where SQLite can not know it.
	position int64

	// appended is the greatest position that the transaction has given.
	appended int64

	// recent says that relays find in Store.recent all that the leader has committed.
	recent bool

	// committed counts transactions, for tests.
	committed atomic.Int64
}

func newWriter(s *Store, c *conn) *writer {
	w := &writer{store: s, conn: c}
	w.idle = sync.NewCond(&w.mu)
	return w
}

// commit has a request written, together with those that wait with it.
func (w *writer) commit(ctx context.Context, r *request) error {
	got, err := w.enter(ctx, r)
	if err != nil {
		return err
	}
	if got == leader {
		w.lead(r)
	}
	return r.err
}

// do has fn write something in a transaction. fn may run more than once; what it
// returned last counts.
func (w *writer) do(ctx context.Context, fn func(c *conn) error) error {
	return w.commit(ctx, &request{work: fn})
}

// enter returns when the request is settled or has the writer. An error means
// that it was withdrawn and nothing happened.
func (w *writer) enter(ctx context.Context, r *request) (signal, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return 0, ErrClosed
	}
	if w.owner == nobody {
		w.own(r)
		w.mu.Unlock()
		return leader, nil
	}
	r.wake = make(chan signal, 1)
	w.queue = append(w.queue, r)
	w.mu.Unlock()
	return w.wait(ctx, r)
}

// own makes a request the owner, with mu held.
func (w *writer) own(r *request) {
	w.owner = group
	if r.exclusive {
		w.owner = session
	}
}

func (w *writer) wait(ctx context.Context, r *request) (signal, error) {
	timer := time.NewTimer(w.store.options.BusyTimeout)
	defer timer.Stop()
	for {
		select {
		case got := <-r.wake:
			return got, nil
		case <-ctx.Done():
			if w.withdraw(r, false) {
				return 0, context.Cause(ctx)
			}
			return <-r.wake, nil // it was taken before: the outcome is what counts
		case <-timer.C:
			if w.withdraw(r, true) {
				return 0, fmt.Errorf("%w: %w: a unit that runs its own SQL has had the writer for %v", ErrBusy, driver.ErrRetryable, w.store.options.BusyTimeout)
			}
			timer.Reset(w.store.options.BusyTimeout)
		}
	}
}

// withdraw takes a request out of the queue, unless it has been taken already;
// where stuck is true, only if a session keeps the others waiting.
func (w *writer) withdraw(r *request, stuck bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if stuck && w.owner != session {
		return false
	}
	i := slices.Index(w.queue, r)
	if i < 0 {
		return false
	}
	w.queue = slices.Delete(w.queue, i, i+1)
	return true
}

// leave passes the writer on to the first who waits.
func (w *writer) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owner = nobody
	if w.closed {
		w.idle.Broadcast()
		return
	}
	if len(w.queue) == 0 {
		return
	}
	next := w.queue[0]
	w.queue = slices.Delete(w.queue, 0, 1)
	w.own(next)
	next.wake <- leader
}

// close refuses who waits, and closes the connection when its owner is done. A
// unit that runs its own SQL is not waited for, since it may be the caller's: it
// closes the connection when it ends.
func (w *writer) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	for _, r := range w.queue {
		r.err = ErrClosed
		r.wake <- settled
	}
	w.queue = nil
	for w.owner == group {
		w.idle.Wait()
	}
	if w.owner == session {
		return nil
	}
	return w.closeConn()
}

// ended notes that a transaction was committed.
func (w *writer) ended() {
	w.committed.Add(1)
	if w.store.options.Synchronous == Full {
		w.store.disk.reach(w.appended)
	}
}

func (w *writer) closeConn() error {
	if w.conn == nil {
		return nil
	}
	c := w.conn
	w.conn = nil
	return c.close()
}

// begin starts a transaction, on a new connection where the old one broke. The
// caller owns the writer.
func (w *writer) begin() error {
	if w.conn == nil {
		c, err := w.store.dialWriter(context.Background())
		if err != nil {
			return err
		}
		w.conn = c
	}
	w.appended = 0
	return w.conn.begin()
}

// rollback undoes the transaction. A connection that can't even do that is
// closed, which undoes it too, and replaced by the next begin.
func (w *writer) rollback() {
	if w.conn == nil || w.conn.rollback() == nil {
		return
	}
	_ = w.closeConn() // the cause of it all is reported already
}

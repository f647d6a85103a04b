package uow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/unitcontext"
)

// Unit is one unit of work: changes that become visible together, or not at all.
// It is had from DB.Do or DB.Begin.
//
// Aggregates are read from one snapshot of the database. What the user changes
// in them stays in memory until the commit, which finds the changed ones by
// comparing with what was loaded, and hands all changes to the store at once.
// Nothing is locked while the user's code runs.
//
// A unit and everything obtained from it belong to one goroutine at a time. Use
// from two at once is refused with ErrConcurrentUse, and use after the end with
// ErrUnitClosed.
type Unit struct {
	db      *DB
	id      string
	now     time.Time
	managed bool
	watch   *watch // nil unless observed

	// busy is held during each operation. Those that find it taken are refused;
	// only the rollback waits for it.
	busy       sync.Mutex
	ended      atomic.Bool
	misused    atomic.Bool // an event was recorded during an operation, and lost
	committing bool
	rolledBack bool
	nested     []*mark // the nested units that are open, the innermost last

	options driver.TxOptions
	tx      driver.Tx
	ctx     unitcontext.Context
	sets    []set // by the collection's place in the DB; nil where unused
	events  []Event
	ranges  []driver.Range // what a serializable unit has asked for
	pending []pendingMessage
	hooks   hooks
	wrote   bool // flushed, or gave out the store's transaction
	// failed is why the unit, or the nested one that is open, can only be rolled
	// back; stuck is why the whole unit can.
	failed, stuck error
	midway        bool // in a call of the store: see leave
	unsettled     bool // Commit was called, and what came of it is not known
	ends          ends
	room          room
}

// room is what most units need, so that it is made with them.
type room struct {
	sets    [4]set
	pending [1]pendingMessage
	events  [1]Event
}

// set is the part of the identity map that belongs to one collection.
type set interface {
	// changes appends what differs from the store.
	changes(d *difference) error
	// detach lets go of the aggregates.
	detach()
	// mark returns a function that brings the aggregates back to what they are
	// now, and clear forgets them.
	mark() (restore func() error, err error)
	clear()
}

// ID returns the unit's id, a UUID.
func (u *Unit) ID() string { return u.id }

// Now returns the unit's time, which is the same during the whole unit, in UTC.
func (u *Unit) Now() time.Time { return u.now }

// enter begins an operation; leave ends it.
func (u *Unit) enter() error {
	if !u.busy.TryLock() {
		if u.ended.Load() {
			return ErrUnitClosed
		}
		return ErrConcurrentUse
	}
	err := u.failed
	if u.ended.Load() {
		err = ErrUnitClosed
	}
	if err != nil {
		u.busy.Unlock()
	}
	return err
}

// leave ends an operation. What it finds midway has panicked, or ended its goroutine:
// nobody knows what the store's transaction has, so it can only be rolled back.
func (u *Unit) leave() {
	if u.midway {
		u.midway, u.stuck = false, errMidway
		u.failed = errMidway
	}
	u.busy.Unlock()
}

var errMidway = errors.New("uow: a call of the store panicked, or ended its goroutine: the unit can only be rolled back")

// calls begins a call of the store, and called ends it.
func (u *Unit) calls() time.Time {
	u.midway = true
	return u.watch.now()
}

func (u *Unit) called(began time.Time) {
	u.midway = false
	u.watch.called(began)
}

func (u *Unit) guarded(fn func() error) error {
	if err := u.enter(); err != nil {
		return err
	}
	defer u.leave()
	return fn()
}

// begin starts the store's transaction where it has not been yet.
func (u *Unit) begin(ctx context.Context) error {
	if u.tx != nil {
		return nil
	}
	u.watch.started(ctx)
	at := u.calls()
	tx, err := u.db.store.Begin(ctx, u.options)
	u.called(at)
	if err != nil {
		return fmt.Errorf("uow: begin: %w", err)
	}
	u.tx = tx // also while it can fail: a panic must find it
	if err := u.nestStore(ctx, len(u.nested)); err != nil {
		failed := u.rollbackStore()
		u.tx = nil
		return joinRollback(err, failed)
	}
	return nil
}

// Use runs fn with the store's transaction of the unit, which it begins if need
// be. It is for packages of stores that give users their native transaction; fn
// must not end the transaction, and must not use the unit.
func (u *Unit) Use(ctx context.Context, fn func(tx driver.Tx) error) error {
	if err := u.enter(); err != nil {
		return err
	}
	defer u.leave()
	if err := u.begin(ctx); err != nil {
		return err
	}
	u.wrote = true
	return fn(u.tx)
}

// Append adds messages to the outbox: they are stored by the commit, in order,
// together with the events that aggregates record. When a payload is too large
// (ErrTooLarge) it adds none. Use outbox.Append.
func (u *Unit) Append(messages ...Message) error {
	return u.guarded(func() error {
		for i := range messages {
			if err := u.db.fits(messages[i].Payload); err != nil {
				return fmt.Errorf("uow: message %d of %d, of type %s: %w", i+1, len(messages), messages[i].Type, err)
			}
		}
		for _, m := range messages {
			if m.ID == "" {
				m.ID = newID(u.now)
			}
			m.CreatedAt, m.Position, m.Write = u.now, 0, 0
			u.pend(pendingMessage{message: &m})
		}
		return nil
	})
}

// record is called by Events.Record. It can't return an error; the commit will.
func (u *Unit) record(source *node, event any) {
	switch err := u.enter(); {
	case errors.Is(err, ErrConcurrentUse):
		u.misused.Store(true)
		return
	case err != nil: // what is recorded from then on is rolled back anyway
		return
	}
	defer u.leave()
	u.recordLocked(source, event)
}

func (u *Unit) recordLocked(source *node, event any) {
	name, err := EventType(event)
	if err != nil {
		u.failed = err
		return
	}
	source.recorded++
	u.pend(pendingMessage{source: source, event: event})
	if u.events == nil {
		u.events = u.room.events[:0]
	}
	u.events = append(u.events, Event{
		AggregateType: source.collection,
		AggregateID:   source.id,
		Type:          name,
		At:            u.now,
		Value:         event,
	})
}

func (u *Unit) pend(p pendingMessage) {
	if u.pending == nil {
		u.pending = u.room.pending[:0]
	}
	u.pending = append(u.pending, p)
}

// Flush sends the changes made so far to the database, inside the unit's
// transaction, for the user's own SQL that must see them. What is changed later
// follows at the commit. After an error the unit can only be rolled back.
//
// A unit that has flushed holds the locks that its database takes for writes
// until its end.
func (u *Unit) Flush(ctx context.Context) error {
	if err := u.enter(); err != nil {
		return err
	}
	defer u.leave()
	cs, written, err := u.changeSet()
	if err != nil || cs.Empty() {
		return err
	}
	if err := u.begin(ctx); err != nil {
		return err
	}
	u.wrote = true
	at := u.calls()
	err = u.tx.Flush(ctx, cs)
	u.midway = false
	u.watch.flushed(at, cs)
	if err != nil {
		u.failed = err
		return err
	}
	for i, n := range written {
		n.wrote(&cs.Writes[i])
	}
	u.pending = nil
	return nil
}

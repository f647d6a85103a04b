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

// Commit makes all changes of the unit visible together. An error means that
// nothing happened: the unit has been rolled back. errors.Is tells ErrConflict
// (another unit changed an aggregate first), ErrDuplicate, a *HookError of a veto,
// and the context's error when it ended before the commit began.
//
// After Commit the unit is closed, and its aggregates are plain values that
// nobody tracks.
func (u *Unit) Commit(ctx context.Context) error {
	if u.managed {
		return ErrManaged
	}
	u.watch.started(ctx)
	return u.watch.closed(ctx, u, u.commit(ctx))
}

func (u *Unit) commit(ctx context.Context) error {
	err := u.guarded(u.startCommit)
	if errors.Is(err, ErrManaged) && !u.managed {
		return err
	}
	returned := false
	defer func() {
		if !returned { // a panic or Goexit, of a hook or of the store, passes through here
			u.abandon(ctx)
		}
	}()
	err = u.finish(ctx, err)
	returned = true
	return err
}

// finish commits a unit whose commit has begun well, and rolls back any other.
func (u *Unit) finish(ctx context.Context, err error) error {
	if err == nil {
		err = u.runBeforeCommit(ctx)
	}
	if err == nil {
		err = u.guarded(func() error { return u.write(ctx) })
	}
	if err != nil {
		return u.abort(ctx, err)
	}
	u.runAfterCommit(ctx)
	return nil
}

// abandon rolls back a unit whose end a panic or Goexit has passed through.
func (u *Unit) abandon(ctx context.Context) {
	if err := u.rollback(ctx, errAbandoned); err != nil {
		u.db.cfg.Logger.ErrorContext(ctx, "uow: rollback after a panic failed", "unit", u.id, "error", err)
	}
}

func (u *Unit) startCommit() error {
	if u.committing || inClosure(u.nested) {
		return ErrManaged
	}
	if len(u.nested) > 0 {
		return ErrNestedOpen
	}
	u.committing = true
	return nil
}

// abort rolls back because of err, unless the unit has ended already, and
// returns err with whatever else went wrong.
func (u *Unit) abort(ctx context.Context, err error) error {
	if u.ended.Load() {
		return err
	}
	if doubt, ok := errors.AsType[*InDoubtError](err); ok && doubt.Unit == u.id {
		if u.claimEnd() { // what the hooks are for is not known
			u.leave()
		}
		return err
	}
	return joinRollback(err, u.rollback(ctx, err))
}

// write hands everything to the store, and ends the unit when that went well.
func (u *Unit) write(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if u.misused.Load() {
		return ErrConcurrentUse
	}
	if len(u.nested) > 0 { // a hook has left it
		return ErrNestedOpen
	}
	cs, _, err := u.changeSet()
	if err != nil {
		return err
	}
	if u.tx != nil || !cs.Empty() {
		if err := u.begin(ctx); err != nil {
			return err
		}
		at := u.calls()
		u.unsettled = true
		err := u.tx.Commit(ctx, cs)
		if errors.Is(err, ErrInDoubt) {
			err = u.settle(ctx, err)
		}
		u.midway, u.unsettled = false, false
		u.watch.committed(at, cs)
		if err != nil {
			return err
		}
	}
	u.watch.well()
	u.end()
	return nil
}

// Rollback undoes the unit: nothing of it reaches the database, its aggregates
// are detached and their recorded events forgotten. It may be called any number
// of times, and does nothing after Commit. It waits for an operation of the unit
// that is running. It does not depend on any context; ctx is for the
// AfterRollback hooks' values.
func (u *Unit) Rollback(ctx context.Context) error {
	return u.watch.closed(ctx, u, u.rollback(ctx, nil))
}

// Close rolls back unless the unit was committed: it belongs into a defer. It
// may be called any number of times.
func (u *Unit) Close() error { return u.Rollback(context.Background()) }

func (u *Unit) rollback(ctx context.Context, cause error) error {
	if !u.claimEnd() {
		return nil
	}
	u.rolledBack = cause == nil
	err := u.undo()
	if u.unsettled { // what the hooks are for is not known
		return err
	}
	return errors.Join(err, u.runAfterRollback(ctx, cause))
}

// undo ends the store's transaction, and the operation that claimEnd began.
func (u *Unit) undo() error {
	defer u.leave()
	if u.tx == nil {
		return nil
	}
	defer u.called(u.calls())
	if err := u.rollbackStore(); err != nil {
		return fmt.Errorf("uow: rollback: %w", err)
	}
	return nil
}

// rollbackStore rolls back the store's transaction. A panic is an error, since the
// unit has ended in any case; after one it tries once more, as Rollback may be called
// any number of times and the transaction must not stay open.
func (u *Unit) rollbackStore() error {
	err := recovered(u.tx.Rollback)
	if _, panicked := errors.AsType[*panicError](err); panicked {
		err = errors.Join(err, recovered(u.tx.Rollback))
	}
	return err
}

// claimEnd ends the unit for a rollback. It returns true, with busy held, when
// the unit was still open.
func (u *Unit) claimEnd() bool {
	if u.ended.Load() {
		return false
	}
	u.busy.Lock()
	if u.ended.Load() {
		u.busy.Unlock()
		return false
	}
	u.end()
	return true
}

// end closes the unit, with busy held.
func (u *Unit) end() {
	u.ended.Store(true)
	for _, s := range u.sets {
		if s != nil {
			s.detach()
		}
	}
	u.sets, u.pending, u.events, u.nested = nil, nil, nil, nil
	for _, err := range u.ends.run() {
		u.db.hookFailed(context.Background(), &HookError{Hook: "OnEnd", Err: err})
	}
}

// rolledBackByUser reports whether Rollback or Close ended the unit.
func (u *Unit) rolledBackByUser() bool {
	u.busy.Lock()
	defer u.busy.Unlock()
	return u.rolledBack
}

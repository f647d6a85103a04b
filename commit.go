package uow

import (
	"context"
	"errors"
	"fmt"
)

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

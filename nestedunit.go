package uow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/uow-go/uow/driver"
)

// NestedUnit is a nested unit that its caller ends. It is had from
// Unit.BeginNested.
type NestedUnit struct {
	unit *Unit
	mark *mark
	ctx  context.Context
}

var errUndone = errors.New("uow: the nested unit was rolled back")

// BeginNested begins a nested unit (see Nested) that the caller ends by Commit or
// Rollback. It is for packages of stores that show a unit as something whose
// transactions can be begun, as database/sql does; others use Nested, which can't be
// left open.
//
// Nested units end in the reverse order of their beginnings. One that ends while
// another that began later is open is rolled back with it, by ErrNestedOpen; a unit
// that is committed while one is open is, too.
func (u *Unit) BeginNested(ctx context.Context) (*NestedUnit, error) {
	n := &NestedUnit{unit: u, ctx: ctx}
	err := u.guarded(func() (err error) {
		n.mark, err = u.nest(ctx, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Use is Unit.Use, and ErrUnitClosed after the nested unit's end.
func (n *NestedUnit) Use(ctx context.Context, fn func(tx driver.Tx) error) error {
	u := n.unit
	if err := u.enter(); err != nil {
		return err
	}
	defer u.leave()
	if !slices.Contains(u.nested, n.mark) {
		return errNestedEnded()
	}
	if err := u.begin(ctx); err != nil {
		return err
	}
	return fn(u.tx)
}

// Commit makes what the nested unit did a part of the unit around it. An error
// means that it has left no trace.
func (n *NestedUnit) Commit() error { return n.unit.unnest(n.ctx, n.mark, nil) }

// Rollback undoes the nested unit. After its end it does nothing.
//
// Where the context that it was begun with has ended, Rollback may be running in
// another goroutine than the unit's, as in database/sql, and can't bring back what
// that goroutine has in its hands: then the unit around the nested one can only be
// rolled back, and says so whenever it is used.
func (n *NestedUnit) Rollback() error {
	select {
	case <-n.ctx.Done():
		n.abandon(context.Cause(n.ctx))
		return nil
	default:
	}
	if err := n.unit.unnest(n.ctx, n.mark, errUndone); err != errUndone { //nolint:errorlint // joined to another it is not the only one
		return err
	}
	return nil
}

func (n *NestedUnit) abandon(cause error) {
	u := n.unit
	u.busy.Lock()
	defer u.busy.Unlock()
	if slices.Contains(u.nested, n.mark) && u.failed == nil {
		u.failed = fmt.Errorf("uow: the context of a transaction inside the unit has ended: %w", cause)
	}
}

func errNestedEnded() error { return fmt.Errorf("%w: the nested unit", ErrUnitClosed) }

// within returns how many nested units are open inside of one, with busy held. It
// is an error when it has been ended already, or one of those is a closure that is
// running: then it can't be ended, and its closure can't succeed any more.
func (u *Unit) within(m *mark) (inner int, err error) {
	i := slices.Index(u.nested, m)
	if i < 0 {
		return 0, errNestedEnded()
	}
	if !m.closure && inClosure(u.nested[i+1:]) {
		u.failed = ErrNestedOpen
		return 0, ErrNestedOpen
	}
	return len(u.nested) - 1 - i, nil
}

func inClosure(nested []*mark) bool {
	return slices.ContainsFunc(nested, func(m *mark) bool { return m.closure })
}

// ends has what must happen at a unit's end.
type ends struct {
	mu    sync.Mutex
	ended bool
	fns   []func()
}

func (e *ends) add(fn func()) {
	e.mu.Lock()
	ended := e.ended
	if !ended {
		e.fns = append(e.fns, fn)
	}
	e.mu.Unlock()
	if ended {
		fn()
	}
}

// run returns what the functions panicked with: the unit's end must come to its own.
func (e *ends) run() (failed []error) {
	e.mu.Lock()
	fns := e.fns
	e.ended, e.fns = true, nil
	e.mu.Unlock()
	for _, fn := range fns {
		if err := recovered(func() error { fn(); return nil }); err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// OnEnd runs fn when the unit ends, however it does, and at once when it has. It is
// for packages of stores that give users something which must be closed then; users
// have AfterCommit and AfterRollback. fn must not use the unit. When it panics at the
// unit's end, Config.OnHookError or the log is told.
func (u *Unit) OnEnd(fn func()) { u.ends.add(fn) }

package uow

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// hooks are the functions that a unit runs around its end.
type hooks struct {
	beforeCommit  []func(ctx context.Context) error
	afterCommit   []func(ctx context.Context) error
	afterRollback []func(ctx context.Context, cause error) error
}

// BeforeCommit registers a function that runs when the commit begins, in the
// order of registration. It may still use the unit, and register more hooks. An
// error vetoes: the unit is rolled back and the commit returns a *HookError that
// wraps it.
func (u *Unit) BeforeCommit(hook func(ctx context.Context) error) error {
	return u.guarded(func() error {
		u.hooks.beforeCommit = append(u.hooks.beforeCommit, hook)
		return nil
	})
}

// AfterCommit registers a function that runs once, only after the commit is
// known to have happened, in the order of registration. Its context does not end
// with the caller's. An error or a panic is reported to Config.OnHookError or the
// log, and is never the error of the commit. It runs in the process that
// committed and is lost with it: what must happen belongs into the outbox.
func (u *Unit) AfterCommit(hook func(ctx context.Context) error) error {
	return u.guarded(func() error {
		u.hooks.afterCommit = append(u.hooks.afterCommit, hook)
		return nil
	})
}

// AfterRollback registers a function that runs after the unit was rolled back,
// or failed to commit, in reverse order of registration, which is what a
// compensation is. It gets the cause: the error that ended the unit, nil when
// Rollback or Close did. Its context does not end with the caller's. Errors are
// joined to the error that ended the unit. It does not run where nobody knows what
// became of the commit: after an *InDoubtError, and after a panic of the store in it.
func (u *Unit) AfterRollback(hook func(ctx context.Context, cause error) error) error {
	return u.guarded(func() error {
		u.hooks.afterRollback = append(u.hooks.afterRollback, hook)
		return nil
	})
}

// runBeforeCommit runs the hooks, and gives the projections what was recorded,
// until both have nothing left.
func (u *Unit) runBeforeCommit(ctx context.Context) error {
	projected := 0
	for {
		step, err := u.nextStep(&projected)
		if step == nil || err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
}

// nextStep returns what is to be done next before the commit, nil when nothing
// is left. What it returns runs outside of the operation, and may use the unit.
func (u *Unit) nextStep(projected *int) (step func(ctx context.Context) error, err error) {
	if err := u.enter(); err != nil {
		return nil, err
	}
	defer u.leave()
	switch {
	case len(u.hooks.beforeCommit) > 0:
		hook := u.hooks.beforeCommit[0]
		u.hooks.beforeCommit = u.hooks.beforeCommit[1:]
		step = func(ctx context.Context) error {
			if err := hook(ctx); err != nil {
				return &HookError{Hook: "BeforeCommit", Err: err}
			}
			return nil
		}
	case len(u.db.cfg.Projections) > 0 && *projected < len(u.events):
		event := u.events[*projected]
		*projected++
		step = func(ctx context.Context) error { return u.project(ctx, event) }
	}
	return step, nil
}

func (u *Unit) project(ctx context.Context, e Event) error {
	for _, projection := range u.db.cfg.Projections {
		if err := projection(ctx, u, e); err != nil {
			return fmt.Errorf("uow: projection of %s of %s/%s: %w", e.Type, e.AggregateType, e.AggregateID, err)
		}
	}
	return nil
}

func (u *Unit) runAfterCommit(ctx context.Context) {
	if len(u.hooks.afterCommit) == 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	for _, hook := range u.hooks.afterCommit {
		if err := recovered(func() error { return hook(ctx) }); err != nil {
			u.watch.hookFailed()
			u.db.hookFailed(ctx, &HookError{Hook: "AfterCommit", Err: err})
		}
	}
}

func (u *Unit) runAfterRollback(ctx context.Context, cause error) error {
	return runReversed(ctx, u.watch, u.hooks.afterRollback, cause)
}

func runReversed(ctx context.Context, w *watch, hooks []func(context.Context, error) error, cause error) error {
	ctx = context.WithoutCancel(ctx)
	if errors.Is(cause, errAbandoned) { // the caller sees the panic itself
		cause = nil
	}
	var failed []error
	for _, hook := range slices.Backward(hooks) {
		if err := recovered(func() error { return hook(ctx, cause) }); err != nil {
			w.hookFailed()
			failed = append(failed, &HookError{Hook: "AfterRollback", Err: err})
		}
	}
	return errors.Join(failed...)
}

// recovered turns a panic of a hook that runs after the outcome is settled into
// an error, so that the other hooks run and the outcome reaches the caller.
func recovered(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v}
		}
	}()
	return fn()
}

// panicError has what something panicked with.
type panicError struct{ value any }

// Error says so.
func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// Unwrap returns the value where it is an error.
func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

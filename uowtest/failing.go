package uowtest

import (
	"context"
	"errors"
	"runtime"

	"github.com/uow-go/uow"
)

// errBoom is what closures fail with.
var errBoom = errors.New("uowtest: the closure failed on purpose")

// fall panics, as a user's code may.
func fall(value any) {
	panic(value) //nolint:forbidigo // this is what is checked
}

func errorChecks() []Check {
	return []Check{
		{
			Name: "P02_error_rolls_back",
			Rule: "an error of the closure must roll everything back, what was flushed included, and reach the caller unchanged",
			run:  errorRollsBack,
		}, {
			Name: "P03_panic_rolls_back_and_goes_on",
			Rule: "a panic in the closure must roll everything back and go on with its value",
			run:  panicRollsBack,
		}, {
			Name: "P04_goexit_rolls_back",
			Rule: "runtime.Goexit in the closure, which is what t.FailNow does, must roll everything back",
			run:  goexitRollsBack,
		}, {
			Name: "P06_close_without_commit_rolls_back",
			Rule: "Close without Commit must roll back, and Rollback and Close may be called any number of times",
			run:  closeRollsBack,
		}, {
			Name: "P06_close_after_commit_does_nothing",
			Rule: "Close and Rollback after Commit must change nothing",
			run:  closeAfterCommit,
		},
	}
}

// dirty leaves changes of each kind in the unit: flushed and not.
func (k *kit) dirty(ctx context.Context, u *uow.Unit) error {
	gone, err := k.accounts.In(u).Get(ctx, "gone")
	if err != nil {
		return err
	}
	return errors.Join(
		k.change(ctx, u, "a", 1),
		k.accounts.In(u).Remove(gone),
		k.accounts.In(u).Add(&account{ID: "flushed"}),
		u.Flush(ctx),
		k.change(ctx, u, "a", 1),
		k.accounts.In(u).Add(&account{ID: "pending"}),
	)
}

// wantClean demands that nothing is left of what dirty did, and that the rows
// are free to be written.
func (k *kit) wantClean(when string) {
	k.Helper()
	k.wantBalance("a", 100, when)
	k.wantBalance("gone", 100, when)
	k.wantNone(when, "flushed", "pending")
	if s := k.look("a"); s.version != 1 {
		k.broken("%s, accounts/a should still have version 1; got %+v", when, s)
	}
	k.meanwhile("a", 1)
	k.wantBalance("a", 101, when+" and a new unit's commit")
}

func errorRollsBack(k *kit) {
	k.save("a", "gone")
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		k.must("preparing changes", k.dirty(ctx, u))
		return errBoom
	})
	if err != errBoom { //nolint:errorlint // unchanged means the same value
		k.broken("the caller should get the closure's error itself; got %v", err)
	}
	k.wantClean("after the closure returned an error")
}

func panicRollsBack(k *kit) {
	k.save("a", "gone")
	value := apart(func() {
		_ = k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			k.must("preparing changes", k.dirty(ctx, u))
			fall(errBoom)
			return nil
		})
	})
	if value != errBoom { //nolint:errorlint // the very value
		k.broken("the panic should go on with its value; got %v", value)
	}
	k.wantClean("after the panic")
}

func goexitRollsBack(k *kit) {
	k.save("a", "gone")
	returned := false
	_ = apart(func() {
		_ = k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			k.must("preparing changes", k.dirty(ctx, u))
			runtime.Goexit()
			return nil
		})
		returned = true
	})
	if returned {
		k.broken("the goroutine should have ended; instead Do returned")
	}
	k.wantClean("after Goexit")
}

func closeRollsBack(k *kit) {
	k.save("a", "gone")
	ctx := k.Context()
	u := k.db.Begin()
	k.must("preparing changes", k.dirty(ctx, u))
	for _, end := range []func() error{u.Close, u.Close, func() error { return u.Rollback(ctx) }, u.Close} {
		if err := end(); err != nil {
			k.broken("Close and Rollback should return nil each time; got %v", err)
		}
	}
	if err := u.Commit(ctx); !errors.Is(err, uow.ErrUnitClosed) {
		k.broken("Commit after Close should be ErrUnitClosed; got %v", err)
	}
	k.wantClean("after Close")
}

func closeAfterCommit(k *kit) {
	k.save("a", "gone")
	ctx := k.Context()
	u := k.db.Begin()
	k.must("preparing changes", k.dirty(ctx, u))
	if err := u.Commit(ctx); err != nil {
		k.broken("a unit that has flushed, and changed more since, should commit; got %v", err)
	}
	if err := errors.Join(u.Close(), u.Rollback(ctx), u.Close()); err != nil {
		k.broken("Close and Rollback after Commit should return nil; got %v", err)
	}
	const when = "after Commit, Close and Rollback"
	k.wantBalance("a", 102, when)
	k.wantBalance("flushed", 0, when)
	k.wantBalance("pending", 0, when)
	k.wantNone(when, "gone")
}

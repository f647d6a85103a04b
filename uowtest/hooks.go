package uowtest

import (
	"context"
	"errors"
	"slices"

	"github.com/uow-go/uow"
)

func hookChecks() []Check {
	return []Check{
		{
			Name: "P25_before_commit_can_veto",
			Rule: "a BeforeCommit hook may use the unit, and its error must roll everything back",
			run:  beforeCommitVetoes,
		}, {
			Name: "P25_after_commit_runs_once_and_after",
			Rule: "an AfterCommit hook must run once, and only when other units can see the commit",
			run:  afterCommitRunsOnce,
		}, {
			Name: "P25_after_commit_not_after_a_failure",
			Rule: "an AfterCommit hook must not run when the commit was refused",
			run:  afterCommitNotAfterFailure,
		}, {
			Name: "P25_after_rollback_in_reverse_order",
			Rule: "AfterRollback hooks must run in reverse order, once the rollback is done, with its cause",
			run:  afterRollbackInReverse,
		}, {
			Name: "P25_failing_after_hook",
			Rule: "an after-hook that fails or panics must be reported as what it is, and never as a failed commit",
			run:  failingAfterHook,
		},
	}
}

func beforeCommitVetoes(k *kit) {
	k.save("a", "gone")
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		return u.BeforeCommit(func(ctx context.Context) error {
			return errors.Join(k.dirty(ctx, u), errBoom)
		})
	})
	var hook *uow.HookError
	if !errors.As(err, &hook) || hook.Hook != "BeforeCommit" || !errors.Is(err, errBoom) {
		k.broken("the commit should fail with a *HookError that wraps the veto; got %v", err)
	}
	k.wantClean("after a veto")
	err = k.do(k.Context(), func(_ context.Context, u *uow.Unit) error {
		return u.BeforeCommit(func(ctx context.Context) error { return k.change(ctx, u, "gone", 1) })
	})
	k.must("a unit whose hook changes something", err)
	k.wantBalance("gone", 101, "after a hook changed it before the commit")
}

func afterCommitRunsOnce(k *kit) {
	k.save("a")
	ran, seen := 0, saved{}
	ctx, cancel := context.WithCancel(k.Context())
	defer cancel()
	err := k.do(ctx, func(ctx context.Context, u *uow.Unit) error {
		return errors.Join(k.change(ctx, u, "a", 1), u.AfterCommit(func(ctx context.Context) error {
			ran++
			cancel()
			seen = k.look("a")
			return ctx.Err()
		}))
	})
	if err != nil || ran != 1 {
		k.broken("the hook should run once and the commit go well; it ran %d times, and the commit said %v", ran, err)
	}
	if seen.balance != 101 {
		k.broken("a new unit in the hook should see the commit, the balance 101; got %+v", seen)
	}
	k.wantHookErrors("which did not fail")
}

func (k *kit) wantHookErrors(which string, want ...string) {
	k.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	var got []string
	for _, err := range k.hookErrors {
		got = append(got, err.Error())
	}
	if !slices.Equal(got, want) {
		k.broken("of hooks %s, Config.OnHookError should get %q; got %q", which, want, got)
	}
}

func afterCommitNotAfterFailure(k *kit) {
	k.save("a")
	ran, compensated := 0, 0
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		err := errors.Join(
			u.AfterCommit(func(context.Context) error { ran++; return nil }),
			u.AfterRollback(func(context.Context, error) error { compensated++; return nil }),
			k.change(ctx, u, "a", 1),
		)
		k.meanwhile("a", 1)
		return err
	})
	if ran != 0 || compensated != 1 || !errors.Is(err, uow.ErrConflict) {
		k.broken("after a conflict no AfterCommit hook should run, and the AfterRollback hook once; they ran %d and %d times, and the commit said %v", ran, compensated, err)
	}
}

func afterRollbackInReverse(k *kit) {
	k.save("a", "gone")
	var order []int
	var causes []error
	clean := false
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		for i := range 3 {
			k.must("AfterRollback", u.AfterRollback(func(_ context.Context, cause error) error {
				order, causes = append(order, i), append(causes, cause)
				clean = k.look("a").balance == 100
				return nil
			}))
		}
		return errors.Join(k.dirty(ctx, u), errBoom)
	})
	if !slices.Equal(order, []int{2, 1, 0}) || !clean {
		k.broken("three hooks should run in the order 2, 1, 0, and find the rollback done; got %v, and done is %v", order, clean)
	}
	for _, cause := range causes {
		if !errors.Is(cause, errBoom) || !errors.Is(err, errBoom) {
			k.broken("the hooks and the caller should get the closure's error; got %v and %v", cause, err)
		}
	}
}

func failingAfterHook(k *kit) {
	k.save("a")
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		return errors.Join(
			u.AfterCommit(func(context.Context) error { return errBoom }),
			u.AfterCommit(func(context.Context) error { fall("hook"); return nil }),
			k.change(ctx, u, "a", 1),
		)
	})
	if err != nil {
		k.broken("the commit went well although its hooks failed, and should say so; got %v", err)
	}
	k.wantBalance("a", 101, "after a commit whose after-hooks failed")
	k.wantHookErrors("which failed", "uow: AfterCommit hook: "+errBoom.Error(), "uow: AfterCommit hook: panic: hook")

	err = k.do(k.Context(), func(_ context.Context, u *uow.Unit) error {
		k.must("AfterRollback", u.AfterRollback(func(context.Context, error) error { fall("compensation"); return nil }))
		return errBoom
	})
	var hook *uow.HookError
	if !errors.Is(err, errBoom) || !errors.As(err, &hook) || hook.Hook != "AfterRollback" {
		k.broken("the closure's error and the failed AfterRollback hook should both come back; got %v", err)
	}
}

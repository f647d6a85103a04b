package uowtest

import (
	"context"
	"errors"
	"time"

	"github.com/uow-go/uow"
)

func contextChecks() []Check {
	return []Check{
		{
			Name: "P05_cancelled_context_rolls_back",
			Rule: "a context that is cancelled before the commit starts must roll back, and the caller must get the context's error",
			run:  cancelledRollsBack,
		}, {
			Name: "P05_expired_context_rolls_back",
			Rule: "a context whose deadline is over must roll back, and the caller must get the context's error",
			run:  expiredRollsBack,
		}, {
			Name: "P05_rollback_needs_no_context",
			Rule: "a rollback must work although the context of the unit has ended, and leave nothing locked",
			run:  rollbackNeedsNoContext,
		},
	}
}

func cancelledRollsBack(k *kit) {
	k.save("a", "gone")
	ctx, cancel := context.WithCancel(k.Context())
	defer cancel()
	err := k.do(ctx, func(ctx context.Context, u *uow.Unit) error {
		k.must("preparing changes", k.dirty(ctx, u))
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		k.broken("the unit should fail with context.Canceled; got %v", err)
	}
	k.wantClean("after the cancellation")
}

func expiredRollsBack(k *kit) {
	k.save("a", "gone")
	ctx, cancel := context.WithDeadline(k.Context(), time.Unix(0, 0))
	defer cancel()
	err := k.do(ctx, func(_ context.Context, u *uow.Unit) error {
		return k.accounts.In(u).Add(&account{ID: "pending"})
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		k.broken("the unit should fail with context.DeadlineExceeded; got %v", err)
	}
	k.wantClean("after the deadline")
}

func rollbackNeedsNoContext(k *kit) {
	k.save("a", "gone")
	ctx, cancel := context.WithCancel(k.Context())
	defer cancel()
	err := k.do(ctx, func(ctx context.Context, u *uow.Unit) error {
		k.must("preparing changes", k.dirty(ctx, u))
		cancel()
		return errBoom
	})
	if err != errBoom { //nolint:errorlint // nothing may be joined to it
		k.broken("the closure's error should come back with no failed rollback joined to it; got %v", err)
	}
	k.wantClean("after a rollback with a cancelled context")

	ctx, cancel = context.WithCancel(k.Context())
	u := k.db.Begin()
	_, err = k.accounts.In(u).Get(ctx, "a")
	k.must("Get", err)
	cancel()
	if err := u.Rollback(ctx); err != nil {
		k.broken("Rollback with a cancelled context should return nil; got %v", err)
	}
}

package uowtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

func retryChecks() []Check {
	return []Check{
		{
			Name: "P14_retry_runs_the_closure_again",
			Rule: "after a retryable error the whole closure must run again in a fresh unit, and nothing of the failed attempts may be left",
			run:  retryRunsAgain,
		}, {
			Name: "P14_retry_after_retryable_errors_only",
			Rule: "nothing may run again after an error that is not retryable, is in doubt, or came with a failed AfterRollback hook",
			run:  retryOnlyRetryable,
		}, {
			Name: "P14_retry_is_bounded",
			Rule: "a closure must run as often as Config.Retry says at most, not again when its context has ended, and its last error must come back",
			run:  retryIsBounded,
		}, {
			Name: "P14_conflicts_are_retried_where_asked",
			Rule: "after ErrConflict the closure must run again where Config.Retry asks for it, and not where it does not",
			run:  retryConflicts,
		}, {
			Name: "P14_contention_is_retryable",
			Rule: "units that get in each other's way must fail with ErrConflict or ErrRetryable, so that all of them go through in the end",
			run:  contention,
		},
	}
}

// attempts is a Config.Retry without pauses.
func attempts(n int, conflicts bool) func(cfg *uow.Config) {
	return func(cfg *uow.Config) {
		cfg.Retry = uow.Retry{MaxAttempts: n, Conflicts: conflicts, MinBackoff: time.Nanosecond, MaxBackoff: time.Nanosecond}
	}
}

// times returns an error the first n times a method is called.
func times(n int, at string, err error) Around {
	return func(_ context.Context, c Call, do func() error) error {
		if c.Method != at || n == 0 {
			return do()
		}
		n--
		return err
	}
}

var errBusy = fmt.Errorf("uowtest: busy on purpose: %w", driver.ErrRetryable)

func retryRunsAgain(k *kit) {
	var want []string
	for _, method := range []string{"Begin", "Get", "Find", "Flush", "Commit"} {
		id := "a" + method
		k.save(id)
		runs, committed, rolledBack, units := 0, 0, 0, map[string]bool{}
		db := k.through(times(2, method, errBusy), attempts(5, false))
		err := k.doWith(k.Context(), db, func(ctx context.Context, u *uow.Unit) error {
			runs++
			units[u.ID()] = true
			k.must("registering hooks", errors.Join(
				u.AfterCommit(func(context.Context) error { committed++; return nil }),
				u.AfterRollback(func(_ context.Context, cause error) error {
					if rolledBack++; !errors.Is(cause, uow.ErrRetryable) {
						k.broken("the AfterRollback hook should get the retryable error; got %v", cause)
					}
					return nil
				})))
			return k.busyUnit(ctx, u, id)
		})
		if err != nil || runs != 3 || len(units) != 3 {
			k.broken("when %s is busy twice, the closure should run 3 times, each in a unit of its own, and the last go well; it ran %d times in %d units, and the last said %v", method, runs, len(units), err)
		}
		if committed != 1 || rolledBack != 2 {
			k.broken("when %s is busy twice, the AfterRollback hook of each failed attempt and the AfterCommit hook of the last should run; they ran %d and %d times", method, rolledBack, committed)
		}
		if got := k.look(id); got.balance != 102 {
			k.broken("when %s is busy twice, the change should be stored once, for the balance 102; got %+v", method, got)
		}
		want = append(want, "by hand key", "changed accounts/"+id, "changed accounts/"+id)
	}
	if !k.h.Lacks.Outbox {
		k.wantMessages("after units that were repeated", want...)
	}
}

// busyUnit uses each method of a transaction.
func (k *kit) busyUnit(ctx context.Context, u *uow.Unit, id string) error {
	if !k.h.Lacks.Outbox {
		k.must("Append", outbox.Append(u, outbox.Message{Type: "by hand", Key: "key"}))
	}
	a, err := k.accounts.In(u).Get(ctx, id)
	if err != nil {
		return err
	}
	change := func() {
		if k.h.Lacks.Outbox {
			a.Balance++
			return
		}
		a.add(1)
	}
	change()
	if _, err := k.accounts.In(u).Find(ctx, uow.Query{Limit: 1}); err != nil {
		return err
	}
	if err := u.Flush(ctx); err != nil {
		return err
	}
	change()
	return nil
}

func retryOnlyRetryable(k *kit) {
	k.save("a")
	for _, c := range []struct {
		what   string
		around Around // nil when the closure itself fails
		hook   error
		err    error
	}{
		{"an error of the closure", nil, nil, errBoom},
		{"a conflict", nil, nil, uow.ErrConflict},
		{"a duplicate", nil, nil, uow.ErrDuplicate},
		{"an error of Begin", times(9, "Begin", errLost), nil, errLost},
		{"an error of Get", times(9, "Get", errLost), nil, errLost},
		{"an error of Flush", times(9, "Flush", errLost), nil, errLost},
		{"an error of Commit", times(9, "Commit", errLost), nil, errLost},
		{"a retryable error and a failed AfterRollback hook", times(9, "Commit", errBusy), errBoom, uow.ErrRetryable},
		{"a commit in doubt", lostAnswer(false, func(context.Context) error { return errors.Join(errLost, errBusy) }), nil, uow.ErrInDoubt},
	} {
		runs := 0
		db := k.through(c.around, func(cfg *uow.Config) {
			attempts(9, false)(cfg)
			cfg.ResolveTimeout = time.Millisecond
		})
		err := k.doWith(k.Context(), db, func(ctx context.Context, u *uow.Unit) error {
			runs++
			k.must("AfterRollback", u.AfterRollback(func(context.Context, error) error { return c.hook }))
			if err := errors.Join(k.change(ctx, u, "a", 1), u.Flush(ctx)); err != nil {
				return err
			}
			if c.around == nil {
				return c.err
			}
			return nil
		})
		if runs != 1 || !errors.Is(err, c.err) {
			k.broken("after %s the closure should not run again, and %q come back; it ran %d times, with %v", c.what, c.err, runs, err)
		}
	}
	k.wantBalance("a", 100, "after units that failed")
}

func retryIsBounded(k *kit) {
	k.save("a")
	for _, c := range []struct {
		what   string
		cfg    func(cfg *uow.Config)
		cancel int // in which run
		want   int
	}{
		{"4 attempts", attempts(4, false), 0, 4},
		{"no retry", nil, 0, 1},
		{"4 attempts, and the context ends in the second", attempts(4, false), 2, 2},
	} {
		runs := 0
		ctx, cancel := context.WithCancel(k.Context())
		db := k.through(times(99, "Commit", errBusy), c.cfg)
		err := k.doWith(ctx, db, func(ctx context.Context, u *uow.Unit) error {
			if runs++; runs == c.cancel {
				cancel()
				return errBusy
			}
			return k.change(ctx, u, "a", 1)
		})
		cancel()
		if runs != c.want || !errors.Is(err, uow.ErrRetryable) {
			k.broken("with %s, a commit that is always busy should be tried %d times and fail with ErrRetryable; it was tried %d times, with %v", c.what, c.want, runs, err)
		}
	}
	k.wantBalance("a", 100, "after units that failed")
}

func retryConflicts(k *kit) {
	k.save("a")
	for _, asked := range []bool{true, false} {
		runs, before := 0, k.look("a").balance
		err := k.doWith(k.Context(), k.through(nil, attempts(5, asked)), func(ctx context.Context, u *uow.Unit) error {
			err := k.change(ctx, u, "a", 1)
			if runs++; runs < 3 {
				k.meanwhile("a", 10)
			}
			return err
		})
		if after := k.look("a").balance; asked && (runs != 3 || err != nil || after != before+21) {
			k.broken("where it is asked for, a unit that meets 2 conflicts should go through in its third run; it ran %d times, with %v, and the balance went from %d to %d", runs, err, before, after)
		}
		if !asked && (runs != 1 || !errors.Is(err, uow.ErrConflict)) {
			k.broken("where it is not asked for, a unit should not run again after a conflict; it ran %d times, with %v", runs, err)
		}
	}
}

// contention changes rows in opposite orders, with what locks the store takes. How
// often units meet is up to the scheduler, so two are made to meet first.
func contention(k *kit) {
	k.save("a", "b")
	const goroutines, units = 4, 6
	db := k.through(nil, func(cfg *uow.Config) {
		cfg.Retry = uow.Retry{MaxAttempts: 1000, Conflicts: true, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond}
	})
	for _, flushes := range []bool{true, false} {
		k.meet(db, flushes)
	}
	k.together(goroutines, func(g int) error {
		for i := range units {
			first, second := "a", "b"
			if g%2 == 0 {
				first, second = second, first
			}
			err := k.doWith(k.Context(), db, func(ctx context.Context, u *uow.Unit) error {
				if err := k.change(ctx, u, first, 1); err != nil {
					return err
				}
				if i%2 == 0 {
					if err := u.Flush(ctx); err != nil {
						return err
					}
				}
				runtime.Gosched() // lets others in between
				if err := k.change(ctx, u, second, 1); err != nil {
					return err
				}
				return u.Flush(ctx)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	const when = "after units that got in each other's way"
	k.wantBalance("a", 100+2*11+goroutines*units, when)
	k.wantBalance("b", 100+goroutines*units, when)
}

// meet adds 11 to a, in a unit that another gets in the way of once.
func (k *kit) meet(db *uow.DB, flushes bool) {
	k.Helper()
	runs := 0
	err := k.doWith(k.Context(), db, func(ctx context.Context, u *uow.Unit) error {
		if err := k.change(ctx, u, "a", 1); err != nil {
			return err
		}
		if runs++; runs == 1 {
			k.meanwhile("a", 10)
		}
		if flushes {
			return u.Flush(ctx)
		}
		return nil
	})
	if err != nil || runs < 2 {
		k.broken("a unit whose row another has changed meanwhile should fail with ErrConflict or ErrRetryable, and go through when it runs again (it flushes itself: %v); it ran %d times, with %v", flushes, runs, err)
	}
}

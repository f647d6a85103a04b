package uowtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/uow-go/uow"
)

var errLost = errors.New("uowtest: the connection was lost on purpose")

func nestedEndChecks() []Check {
	return []Check{
		{
			Name:  "P16_nested_panic_and_goexit",
			Rule:  "a nested unit that panics or ends its goroutine must leave no trace, and a panic must go on with its value",
			needs: nestingNeeded,
			run:   nestedPanics,
		}, {
			Name:  "P16_nested_cancelled",
			Rule:  "a nested unit whose context has ended must be undone all the same, whatever its closure returns",
			needs: nestingNeeded,
			run:   nestedCancelled,
		}, {
			Name:  "P16_nested_flush_error",
			Rule:  "a flush that fails in a nested unit must be undone with it, and the unit must go on and commit",
			needs: nestingNeeded,
			run:   nestedFlushFails,
		}, {
			Name:  "P16_failed_undo_spoils_the_unit",
			Rule:  "when a nested unit could not be undone, the unit must refuse everything and commit nothing",
			needs: nestingNeeded,
			run:   failedUndo,
		},
	}
}

// nestedTrace leaves something in a nested unit, flushed and not.
func (k *kit) nestedTrace(ctx context.Context, u *uow.Unit, name func(string) string) error {
	return errors.Join(
		k.change(ctx, u, name("a"), 1000),
		k.accounts.In(u).Add(&account{ID: name("flushed")}),
		u.Flush(ctx),
		k.change(ctx, u, name("a"), 1000),
		k.accounts.In(u).Add(&account{ID: name("pending")}),
	)
}

// wantNoNestedTrace demands that only the unit's own changes were committed: 1
// more on a.
func (k *kit) wantNoNestedTrace() {
	k.Helper()
	for i, s := range k.starts() {
		k.wantBalance(fmt.Sprint("a", i), 101, s.when)
		k.wantNone(s.when, fmt.Sprint("flushed", i), fmt.Sprint("pending", i))
	}
}

func nestedPanics(k *kit) {
	k.save("a0", "a1", "a2", "a3")
	k.each(func(ctx context.Context, u *uow.Unit, s start, name func(string) string) error {
		undone := 0
		for _, end := range []struct {
			what  string
			call  func()
			value any
		}{{"a panic", func() { fall(errBoom) }, errBoom}, {"Goexit", runtime.Goexit, nil}} {
			returned := false
			value := apart(func() {
				_ = k.nested(ctx, u, func(ctx context.Context, u *uow.Unit) error {
					k.must("changes", k.nestedTrace(ctx, u, name))
					k.must("AfterRollback", u.AfterRollback(func(context.Context, error) error { undone++; return nil }))
					end.call()
					return nil
				})
				returned = true
			})
			if returned || value != end.value {
				k.broken("%s, %s in the nested unit should go on with the value %v; Nested returned is %v, with the value %v", s.when, end.what, end.value, returned, value)
			}
		}
		if undone != 2 {
			k.broken("%s, the AfterRollback hook of each of the 2 nested units should run once; together they ran %d times", s.when, undone)
		}
		return k.change(ctx, u, name("a"), 1)
	})
	k.wantNoNestedTrace()
}

func nestedCancelled(k *kit) {
	k.save("a0", "a1", "a2", "a3")
	k.each(func(ctx context.Context, u *uow.Unit, s start, name func(string) string) error {
		for _, result := range []error{nil, errBoom} {
			want := result
			if result == nil {
				want = context.Canceled
			}
			inner, cancel := context.WithCancel(ctx)
			err := k.nested(inner, u, func(ctx context.Context, u *uow.Unit) error {
				k.must("changes", k.nestedTrace(ctx, u, name))
				cancel()
				return result
			})
			if err != want { //nolint:errorlint // nothing may be joined to it
				k.broken("%s, a nested unit that was cancelled and returned %v should fail with %v alone; got %v", s.when, result, want, err)
			}
			a, err := k.accounts.In(u).Get(ctx, name("a"))
			if err != nil || a.Balance != 100 {
				k.broken("%s, a nested unit that was cancelled and returned %v should be undone; the unit sees %+v, %v", s.when, result, a, err)
			}
		}
		return k.change(ctx, u, name("a"), 1)
	})
	k.wantNoNestedTrace()
}

func nestedFlushFails(k *kit) {
	k.save("a0", "a1", "a2", "a3", "there")
	email := "same@example.com"
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		return k.members.In(u).Add(&member{ID: "there", Email: &email})
	})
	k.each(func(ctx context.Context, u *uow.Unit, s start, name func(string) string) error {
		for what, add := range map[string]func(u *uow.Unit) error{
			"adds what is there": func(u *uow.Unit) error { return k.accounts.In(u).Add(&account{ID: "there"}) },
			"adds a unique value that is taken": func(u *uow.Unit) error {
				return k.members.In(u).Add(&member{ID: name("new"), Email: &email})
			},
		} {
			want := uow.ErrConflict
			if what != "adds what is there" {
				want = uow.ErrDuplicate
				if k.h.Lacks.UniqueIndexes {
					continue
				}
			}
			for _, tells := range []bool{true, false} {
				err := k.nested(ctx, u, func(ctx context.Context, u *uow.Unit) error {
					a, err := k.accounts.In(u).Get(ctx, name("a"))
					k.must("Get", err)
					a.Balance += 1000
					k.must("Add", add(u))
					err = u.Flush(ctx)
					a.add(1) // of no effect any more
					if tells {
						return err
					}
					return nil
				})
				if !errors.Is(err, want) {
					k.broken("%s, a nested unit that %s and flushes should fail with %v (the closure says so: %v); got %v", s.when, what, want, tells, err)
				}
			}
		}
		return errors.Join(k.change(ctx, u, name("a"), 1), u.Flush(ctx))
	})
	k.wantNoNestedTrace()
	if there := k.look("there"); there != (saved{found: true, version: 1, balance: 100}) {
		k.broken("accounts/there should be as before; got %+v", there)
	}
	k.conflictInNested()
}

// conflictInNested meets a row that another unit has changed since it was read.
func (k *kit) conflictInNested() {
	k.Helper()
	k.save("b", "c")
	runs, want := 0, int64(110)
	err := k.granted(func() error {
		return k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			k.must("reading", k.change(ctx, u, "b", 0))
			if runs++; runs == 1 {
				k.meanwhile("b", 10)
			}
			err := k.nested(ctx, u, func(ctx context.Context, u *uow.Unit) error {
				return errors.Join(k.change(ctx, u, "b", 1), u.Flush(ctx))
			})
			if runs == 1 {
				k.wantConflict(err, "b", 1, 2)
			} else { // the first run was refused, and nothing is in the way of this one
				k.must("a nested unit", err)
				want = 111
			}
			return k.change(ctx, u, "c", 1)
		})
	})
	if err != nil {
		k.broken("after a nested unit with a conflict, the unit should commit what is not concerned; got %v", err)
	}
	k.wantBalance("b", want, "after a nested unit with a conflict")
	k.wantBalance("c", 101, "after a nested unit with a conflict")
}

func failedUndo(k *kit) {
	for _, depth := range []int{1, 2} {
		undone := 0
		db := k.through(func(_ context.Context, c Call, do func() error) error {
			if c.Method != "Unnest" {
				return do()
			}
			if undone++; undone == 1 { // of the innermost nested unit only
				return errLost
			}
			return do()
		}, nil)
		when := fmt.Sprintf("when the nested unit at depth %d could not be undone", depth)
		var after []error
		var part func(ctx context.Context, u *uow.Unit) error
		level := 0
		part = func(ctx context.Context, u *uow.Unit) error {
			level++
			k.must("changes", errors.Join(k.accounts.In(u).Add(&account{ID: fmt.Sprint("level", level)}), u.Flush(ctx)))
			if level <= depth {
				err := k.nested(ctx, u, part)
				after = append(after, u.Flush(ctx))
				return err
			}
			return errBoom
		}
		err := k.doWith(k.Context(), db, func(ctx context.Context, u *uow.Unit) error {
			err := part(ctx, u)
			if !errors.Is(err, errBoom) || !errors.Is(err, errLost) {
				k.broken("%s, Nested should return the closure's error and the reason; got %v", when, err)
			}
			return nil // the commit must refuse all the same
		})
		if !errors.Is(err, errLost) {
			k.broken("%s, the commit should fail with the reason; got %v", when, err)
		}
		for _, err := range after {
			if !errors.Is(err, errLost) {
				k.broken("%s, the unit should refuse a flush with the reason; got %v", when, err)
			}
		}
		k.wantNone(when, "level1", "level2", "level3")
	}
}

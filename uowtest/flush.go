package uowtest

import (
	"context"
	"errors"

	"github.com/uow-go/uow"
)

func flushChecks() []Check {
	return []Check{
		{
			Name: "P11_flush_finds_conflicts",
			Rule: "a conflict of flushed rows must be found by the flush, or at the latest by the commit",
			run:  flushFindsConflicts,
		}, {
			Name: "P11_flushed_rows_are_guarded",
			Rule: "of a unit that has flushed and one that commits the same row meanwhile, exactly one must go through",
			run:  flushedRowsAreGuarded,
		}, {
			Name:  "P11_two_units_that_flushed",
			Rule:  "of two units that have flushed changes which exclude each other, exactly one must go through",
			needs: concurrentFlushNeeded,
			run:   twoUnitsThatFlushed,
		},
	}
}

func flushFindsConflicts(k *kit) {
	k.save("a")
	u := k.db.Begin()
	defer u.Close()
	ctx := k.Context()
	k.must("changing a", k.change(ctx, u, "a", 1))
	k.meanwhile("a", 10)
	err := u.Flush(ctx)
	if err != nil {
		k.wantConflict(err, "a", 1, 2)
	}
	k.wantConflict(u.Commit(ctx), "a", 1, 2)
	k.wantBalance("a", 110, "after a flushed change was refused")
}

// flushedRowsAreGuarded lets the second unit wait for the first, as locks make
// it do, or go ahead.
func flushedRowsAreGuarded(k *kit) {
	k.save("a")
	for range 20 {
		before := k.look("a")
		u := k.db.Begin()
		ctx := k.Context()
		k.must("changing a", k.change(ctx, u, "a", 1))
		k.must("Flush", u.Flush(ctx))
		other := make(chan error, 1)
		loaded := make(chan struct{})
		go func() {
			other <- k.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
				defer close(loaded)
				return k.change(ctx, u, "a", 1)
			})
		}()
		<-loaded
		first := u.Commit(ctx)
		k.wantOneOf("a", before, first, <-other)
	}
}

// wantOneOf demands that one of two changes by 1 went through.
func (k *kit) wantOneOf(id string, before saved, first, second error) {
	k.Helper()
	for _, err := range []error{first, second} {
		if err != nil && !errors.Is(err, uow.ErrConflict) {
			k.broken("a unit that loses should fail with ErrConflict; got %v", err)
		}
	}
	after := k.look(id)
	if (first == nil) == (second == nil) || after.balance != before.balance+1 || after.version != before.version+1 {
		k.broken("exactly one of two changes by 1 should go through; the first said %v, the second %v, and accounts/%s went from %+v to %+v",
			first, second, id, before, after)
	}
}

func twoUnitsThatFlushed(k *kit) {
	k.save("a", "gone")
	ctx := k.Context()
	email := "same@example.com"
	for _, c := range []struct {
		what string
		do   func(u *uow.Unit, id string) error
	}{
		{"change the same row", func(u *uow.Unit, _ string) error { return k.change(ctx, u, "a", 1) }},
		{"add the same row", func(u *uow.Unit, _ string) error { return k.accounts.In(u).Add(&account{ID: "new"}) }},
		{"change and remove the same row", func(u *uow.Unit, id string) error {
			a, err := k.accounts.In(u).Get(ctx, "gone")
			if err == nil && id == "first" {
				return k.accounts.In(u).Remove(a)
			}
			return errors.Join(err, k.change(ctx, u, "gone", 1))
		}},
		{"take the same unique value", func(u *uow.Unit, id string) error {
			return k.members.In(u).Add(&member{ID: id, Email: &email})
		}},
	} {
		if k.h.Lacks.UniqueIndexes && c.what == "take the same unique value" {
			continue
		}
		one, two := k.db.Begin(), k.db.Begin()
		k.must("the first unit", c.do(one, "first"))
		k.must("the second unit", c.do(two, "second"))
		k.must("the first flush", one.Flush(ctx))
		second := two.Flush(ctx)
		if second == nil {
			second = two.Commit(ctx)
		}
		first := one.Commit(ctx)
		k.must("Close", errors.Join(one.Close(), two.Close()))
		if (first == nil) == (second == nil) {
			k.broken("of two units that have flushed and %s, one should go through; the first said %v, the second %v", c.what, first, second)
		}
	}
}

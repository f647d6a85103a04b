package uowtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/uow-go/uow"
)

func rollbackChecks() []Check {
	return []Check{
		{
			Name:  "P13_aggregates_are_detached",
			Rule:  "after a rollback the aggregates must be detached, and the events that they had recorded gone; they can be added to another unit",
			needs: outboxNeeded,
			run:   aggregatesAreDetached,
		}, {
			Name: "P13_changes_after_the_end_do_nothing",
			Rule: "what is changed in an aggregate after its unit has ended must reach nothing",
			run:  changesAfterTheEnd,
		}, {
			Name: "P18_no_goroutine_outlives_its_unit",
			Rule: "no goroutine may outlive its unit, however it ends",
			run:  noGoroutines,
		}, {
			Name:  "P18_connections_come_back",
			Rule:  "each connection must be back when its unit has ended, however it ended",
			needs: inUseNeeded,
			run:   connectionsComeBack,
		}, {
			Name: "P18_store_goes_on_after_failures",
			Rule: "a store must go on as before after many units that failed in every way",
			run:  goesOn,
		},
	}
}

func aggregatesAreDetached(k *kit) {
	a := &account{ID: "a"}
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		a.open("alice")
		k.must("Add", k.accounts.In(u).Add(a))
		k.must("Flush", u.Flush(ctx))
		a.add(5)
		return errBoom
	})
	if !errors.Is(err, errBoom) {
		k.broken("the closure's error should come back; got %v", err)
	}
	k.wantMessages("after the rollback")
	a.Record(changed{By: 7})
	err = k.do(k.Context(), func(_ context.Context, u *uow.Unit) error { return k.accounts.In(u).Add(a) })
	if err != nil {
		k.broken("an aggregate of a unit that was rolled back can be added to another; got %v", err)
	}
	k.wantMessages("after the aggregate was added again, with one more event", "changed accounts/a")
	k.wantBalance("a", 5, "after the aggregate was added again")
	if got := k.messages(); len(got) == 1 && got[0].Sequence != 1 {
		k.broken("the first event that is stored should have the sequence 1; got %d", got[0].Sequence)
	}
}

func changesAfterTheEnd(k *kit) {
	k.save("a")
	var committed, rolledBack *account
	for _, end := range []struct {
		a      **account
		result error
	}{{&committed, nil}, {&rolledBack, errBoom}} {
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) (err error) {
			*end.a, err = k.accounts.In(u).Get(ctx, "a")
			return errors.Join(err, end.result)
		})
		if !errors.Is(err, end.result) {
			k.broken("the unit should end with %v; got %v", end.result, err)
		}
	}
	committed.Balance++
	rolledBack.add(1)
	k.must("a unit that reads", k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		now, err := k.accounts.In(u).Get(ctx, "a")
		if now == committed || now == rolledBack {
			k.broken("a unit should load aggregates of its own; got the pointer of an earlier unit")
		}
		return err
	}))
	k.wantBalance("a", 100, "after changes to aggregates whose units had ended")
}

// endAll runs a unit to each kind of end.
func (k *kit) endAll(round int) {
	ctx, cancel := context.WithCancel(k.Context())
	defer cancel()
	id := fmt.Sprint("round", round)
	read := func(ctx context.Context, u *uow.Unit) error {
		_, err := k.accounts.In(u).Find(ctx, uow.Query{Limit: 3})
		return err
	}
	ends := []func(ctx context.Context, u *uow.Unit) error{
		read,
		func(_ context.Context, u *uow.Unit) error { return k.accounts.In(u).Add(&account{ID: id}) },
		func(ctx context.Context, u *uow.Unit) error { return k.change(ctx, u, id, 1) },
		func(ctx context.Context, u *uow.Unit) error { return errors.Join(read(ctx, u), errBoom) },
		func(ctx context.Context, u *uow.Unit) error { // a conflict
			return errors.Join(read(ctx, u), k.accounts.In(u).Add(&account{ID: id}))
		},
		func(ctx context.Context, u *uow.Unit) error {
			return errors.Join(k.change(ctx, u, id, 1), u.Flush(ctx), errBoom)
		},
		func(ctx context.Context, u *uow.Unit) error {
			k.must("a unit that panics", errors.Join(k.change(ctx, u, id, 1), u.Flush(ctx)))
			fall(errBoom)
			return nil
		},
		func(ctx context.Context, u *uow.Unit) error {
			k.must("a unit that ends its goroutine", errors.Join(read(ctx, u), u.Flush(ctx)))
			runtime.Goexit()
			return nil
		},
		func(ctx context.Context, u *uow.Unit) error { // the last one: its context is cancelled
			err := errors.Join(k.change(ctx, u, id, 1), u.Flush(ctx))
			cancel()
			return err
		},
	}
	for _, end := range ends {
		apart(func() { _ = k.do(ctx, end) })
	}
}

func noGoroutines(k *kit) {
	k.endAll(0) // lets the store start what it keeps
	before := runtime.NumGoroutine()
	for round := range 10 {
		k.endAll(round + 1)
	}
	k.eventually(fmt.Sprintf("after 90 units the number of goroutines should be the %d of before", before), func() bool {
		return runtime.NumGoroutine() <= before
	})
}

func connectionsComeBack(k *kit) {
	before := k.h.InUse()
	for round := range 5 {
		k.endAll(round)
		// One that reads or commits for others ends a little later than its unit.
		got := 0
		k.eventually(fmt.Sprintf("after units that ended in every way, %d connections should be in use as before", before), func() bool {
			got = k.h.InUse()
			return got == before
		})
		if got != before {
			return
		}
	}
}

func goesOn(k *kit) {
	k.save("a")
	for round := range 30 {
		k.endAll(round)
	}
	for range 10 {
		k.meanwhile("a", 1)
	}
	k.wantBalance("a", 110, "after ten units, which followed 270 that ended in every way")
}

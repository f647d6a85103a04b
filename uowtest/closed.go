package uowtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

func closedChecks() []Check {
	return []Check{
		{
			Name: "P07_use_after_the_end",
			Rule: "a unit and everything obtained from it must refuse use after the end with ErrUnitClosed",
			run:  useAfterTheEnd,
		}, {
			Name:  "P07_native_use_after_the_end",
			Rule:  "the native transaction of a unit must refuse use after the end with ErrUnitClosed",
			needs: nativeNeeded,
			run:   nativeUseAfterTheEnd,
		}, {
			Name: "P07_use_from_two_goroutines",
			Rule: "a unit and everything obtained from it must refuse use from a second goroutine, while a first one uses it, with ErrConcurrentUse",
			run:  useFromTwoGoroutines,
		}, {
			Name: "P08_no_repository_without_a_unit",
			Rule: "a repository must be had only from an open unit, and must not write outside of it",
			run:  noRepositoryWithoutUnit,
		},
	}
}

// use is one way to use a unit or something obtained from it.
type use struct {
	name string
	call func() error
}

// uses returns all ways to use a unit and a repository of it that has the
// account.
func (k *kit) uses(ctx context.Context, u *uow.Unit, r *uow.Repository[account], a *account) []use {
	return append(k.repositoryUses(ctx, r, a),
		use{"Unit.Flush", func() error { return u.Flush(ctx) }},
		use{"Unit.Commit", func() error { return u.Commit(ctx) }},
		use{"Unit.Append", func() error { return u.Append(uow.Message{Type: "t"}) }},
		use{"outbox.Append", func() error { return outbox.Append(u, uow.Message{Type: "t"}) }},
		use{"Unit.Use", func() error { return u.Use(ctx, func(driver.Tx) error { return nil }) }},
		use{"Unit.BeforeCommit", func() error { return u.BeforeCommit(func(context.Context) error { return nil }) }},
		use{"Unit.AfterCommit", func() error { return u.AfterCommit(func(context.Context) error { return nil }) }},
		use{"Unit.AfterRollback", func() error { return u.AfterRollback(func(context.Context, error) error { return nil }) }},
		use{"Get of a new repository", func() error { _, err := k.accounts.In(u).Get(ctx, "a"); return err }},
	)
}

func (k *kit) repositoryUses(ctx context.Context, r *uow.Repository[account], a *account) []use {
	return []use{
		{"Repository.Get", func() error { _, err := r.Get(ctx, "a"); return err }},
		{"Repository.GetMany", func() error { _, err := r.GetMany(ctx, "a", "b"); return err }},
		{"Repository.Find", func() error { _, err := r.Find(ctx, uow.Query{}); return err }},
		{"Repository.Add", func() error { return r.Add(&account{ID: "late"}) }},
		{"Repository.Version", func() error { _, err := r.Version(a); return err }},
		{"Repository.Require", func() error { return r.Require(a, 1) }},
		{"Repository.Remove", func() error { return r.Remove(a) }},
	}
}

func (k *kit) wantAll(uses []use, want error, when string) {
	k.Helper()
	for _, use := range uses {
		if err := use.call(); !errors.Is(err, want) {
			k.broken("%s %s should be refused with %q; got %v", use.name, when, want, err)
		}
	}
}

func useAfterTheEnd(k *kit) {
	k.save("a")
	for _, end := range []struct {
		when   string
		result error
	}{{"after the commit", nil}, {"after the rollback", errBoom}} {
		var uses []use
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			r := k.accounts.In(u)
			a, err := r.Get(ctx, "a")
			k.must("Get", err)
			uses = k.uses(k.Context(), u, r, a)
			return end.result
		})
		if !errors.Is(err, end.result) {
			k.broken("the unit should end with %v; got %v", end.result, err)
		}
		for i := range uses { // Do's own answer to Commit comes first
			if uses[i].name == "Unit.Commit" {
				uses = append(uses[:i], uses[i+1:]...)
				break
			}
		}
		k.wantAll(uses, uow.ErrUnitClosed, end.when)
	}
	u := k.db.Begin()
	k.must("Commit", u.Commit(k.Context()))
	if err := u.Commit(k.Context()); !errors.Is(err, uow.ErrUnitClosed) {
		k.broken("a second Commit should be ErrUnitClosed; got %v", err)
	}
	k.wantNone("after all of this", "late")
}

func nativeUseAfterTheEnd(k *kit) {
	var kept *uow.Unit
	k.must("the unit", k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		kept = u
		return k.h.Native.Insert(ctx, u, "once")
	}))
	if err := k.h.Native.Insert(k.Context(), kept, "late"); !errors.Is(err, uow.ErrUnitClosed) {
		k.broken("Native.Insert after the commit should be ErrUnitClosed; got %v", err)
	}
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		k.wantNative(ctx, u, "late", 0, "after a refused write")
		return nil
	})
}

func useFromTwoGoroutines(k *kit) {
	k.save("a")
	u := k.db.Begin()
	defer u.Close()
	r := k.accounts.In(u)
	a, err := r.Get(k.Context(), "a")
	k.must("Get", err)
	var uses []use
	for _, use := range k.uses(k.Context(), u, r, a) {
		if use.name != "Unit.Commit" { // it rolls back, once it can
			uses = append(uses, use)
		}
	}
	err = u.Use(k.Context(), func(driver.Tx) error {
		apart(func() { k.wantAll(uses, uow.ErrConcurrentUse, "during another use") })
		return nil
	})
	k.must("Use", err)
	err = u.Use(k.Context(), func(driver.Tx) error {
		apart(func() { a.Record(changed{By: 1}) })
		return nil
	})
	k.must("Use", err)
	if err := u.Commit(k.Context()); !errors.Is(err, uow.ErrConcurrentUse) {
		k.broken("Commit should be ErrConcurrentUse after an event was recorded during another use, since it is lost; got %v", err)
	}
	k.wantNone("after refused uses", "late")
	k.raceOnUnit()
}

// raceOnUnit uses a unit from many goroutines at once, for the race detector:
// each use goes well or is refused, and what went well is committed.
func (k *kit) raceOnUnit() {
	k.Helper()
	u := k.db.Begin()
	defer u.Close()
	r := k.accounts.In(u)
	const goroutines = 8
	results := make(chan error, goroutines)
	for i := range goroutines {
		go func() {
			err := r.Add(&account{ID: fmt.Sprint("race", i)})
			_, _ = r.Find(k.Context(), uow.Query{})
			results <- err
		}()
	}
	added := 0
	for range goroutines {
		err := <-results
		if err == nil {
			added++
		} else if !errors.Is(err, uow.ErrConcurrentUse) {
			k.broken("Add from many goroutines should go well or be ErrConcurrentUse; got %v", err)
		}
	}
	k.must("Commit", u.Commit(k.Context()))
	stored := 0
	for i := range goroutines {
		if k.look(fmt.Sprint("race", i)).found {
			stored++
		}
	}
	if stored != added {
		k.broken("%d aggregates were added without an error; %d were stored", added, stored)
	}
}

func noRepositoryWithoutUnit(k *kit) {
	var never uow.Repository[account]
	k.wantAll(k.repositoryUses(k.Context(), &never, &account{}), uow.ErrUnitClosed, "of a repository that is no unit's")

	var kept *uow.Repository[account]
	k.must("the unit", k.do(k.Context(), func(_ context.Context, u *uow.Unit) error {
		kept = k.accounts.In(u)
		return nil
	}))
	if err := kept.Add(&account{ID: "late"}); !errors.Is(err, uow.ErrUnitClosed) {
		k.broken("Add through a repository whose unit has ended should be ErrUnitClosed; got %v", err)
	}
	stranger := uow.NewCollection[account]("accounts")
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		if _, err := stranger.In(u).Get(ctx, "a"); !errors.Is(err, uow.ErrConfig) {
			k.broken("a collection that is not in the Config should be ErrConfig, also under a known name; got %v", err)
		}
		return nil
	})
	k.wantNone("after refused uses", "late")
}

package uowtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/uow-go/uow"
)

func trackingChecks() []Check {
	return []Check{
		{
			Name: "P09_same_pointer",
			Rule: "loading the same aggregate twice in a unit must give the same pointer, whatever loads it",
			run:  samePointer,
		}, {
			Name: "P09_queries_see_own_changes",
			Rule: "a query in a unit must see the unit's own changes: new aggregates, changed ones in their new place, and removed ones not",
			run:  func(k *kit) { queriesSeeOwnChanges(k, false) },
		}, {
			Name: "P09_queries_see_flushed_changes",
			Rule: "a query after a flush must see what was flushed, and what changed since",
			run:  func(k *kit) { queriesSeeOwnChanges(k, true) },
		}, {
			Name: "P09_limit_counts_own_changes",
			Rule: "the limit of a query must count what the unit sees: aggregates that it removed or changed leave room for others",
			run:  limitCountsOwnChanges,
		}, {
			Name: "P09_removed_is_gone",
			Rule: "an aggregate that a unit removed must be gone for the unit itself, and may be added again",
			run:  removedIsGone,
		},
	}
}

func samePointer(k *kit) {
	k.save("a", "b")
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		first, err := k.accounts.In(u).Get(ctx, "a")
		if err != nil {
			return err
		}
		again, err := k.accounts.In(u).Get(ctx, "a")
		if err != nil {
			return err
		}
		many, err := k.accounts.In(u).GetMany(ctx, "nobody", "b", "a", "a")
		if err != nil {
			return err
		}
		found, err := k.accounts.In(u).Find(ctx, uow.Query{})
		if err != nil {
			return err
		}
		if len(many) != 3 || len(found) != 2 {
			k.broken("GetMany of a missing one, b, a and a should give 3, and Find 2; got %d and %d", len(many), len(found))
			return nil
		}
		if first != again || first != many[1] || first != many[2] || first != found[0] || many[0] != found[1] {
			k.broken("Get, GetMany and Find gave different pointers of one aggregate")
		}
		added := &account{ID: "new"}
		if err := k.accounts.In(u).Add(added); err != nil {
			return err
		}
		if got, err := k.accounts.In(u).Get(ctx, "new"); got != added {
			k.broken("Get of an added aggregate should give the added pointer; got %p, %v", got, err)
		}
		return nil
	})
}

// wantFound demands that a query finds these accounts.
func (k *kit) wantFound(ctx context.Context, u *uow.Unit, when string, q uow.Query, want ...string) {
	k.Helper()
	found, err := k.accounts.In(u).Find(ctx, q)
	k.must("Find", err)
	ids := []string{}
	for _, a := range found {
		ids = append(ids, a.ID)
	}
	if fmt.Sprint(ids) != fmt.Sprint(want) {
		k.broken("%s, the query %+v should find %v; got %v", when, q, want, ids)
	}
}

// ladder stores accounts a to f with the balances 10 to 60.
func (k *kit) ladder() {
	k.Helper()
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		for i, id := range []string{"a", "b", "c", "d", "e", "f"} {
			if err := k.accounts.In(u).Add(&account{ID: id, Owner: "nobody", Balance: int64(10 * (i + 1))}); err != nil {
				return err
			}
		}
		return nil
	})
}

func queriesSeeOwnChanges(k *kit, flush bool) {
	k.ladder()
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		r := k.accounts.In(u)
		b, err := r.Get(ctx, "b")
		if err != nil {
			return err
		}
		err = errors.Join(
			k.change(ctx, u, "a", 100), // from first to last
			r.Remove(b),
			r.Add(&account{ID: "n", Owner: "nobody", Balance: 35}),
			r.Add(&account{ID: "x", Owner: "somebody", Balance: 35}),
		)
		if flush {
			err = errors.Join(err, u.Flush(ctx))
		}
		if err != nil {
			return err
		}
		byBalance := []uow.Order{uow.Ascending("balance")}
		nobody := []uow.Condition{uow.Equal("owner", "nobody")}
		k.wantFound(ctx, u, "with own changes", uow.Query{Order: byBalance}, "c", "n", "x", "d", "e", "f", "a")
		k.wantFound(ctx, u, "with own changes", uow.Query{Where: nobody, Order: byBalance, Limit: 3}, "c", "n", "d")
		k.wantFound(ctx, u, "with own changes", uow.Query{Where: []uow.Condition{uow.Less("balance", 30)}})
		if err := k.change(ctx, u, "c", 100); err != nil {
			return err
		}
		k.wantFound(ctx, u, "with a change after that", uow.Query{Where: nobody, Order: byBalance, Limit: 3}, "n", "d", "e")
		return nil
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		k.wantFound(ctx, u, "after the commit", uow.Query{Order: []uow.Order{uow.Ascending("balance")}}, "n", "x", "d", "e", "f", "a", "c")
		return nil
	})
}

func limitCountsOwnChanges(k *kit) {
	k.ladder()
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		r := k.accounts.In(u)
		first, err := r.Find(ctx, uow.Query{Order: []uow.Order{uow.Ascending("balance")}, Limit: 2})
		if err != nil {
			return err
		}
		if len(first) != 2 {
			k.broken("a query with limit 2 should find 2; got %d", len(first))
			return nil
		}
		first[1].Balance = 1000
		if err := r.Remove(first[0]); err != nil {
			return err
		}
		q := uow.Query{Order: []uow.Order{uow.Ascending("balance")}, Limit: 2}
		k.wantFound(ctx, u, "with the first removed and the second moved to the end", q, "c", "d")
		q = uow.Query{Order: []uow.Order{uow.Descending("balance")}, Limit: 2}
		k.wantFound(ctx, u, "from the other end", q, "b", "f")
		return nil
	})
}

func removedIsGone(k *kit) {
	k.save("a")
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		r := k.accounts.In(u)
		a, err := r.Get(ctx, "a")
		if err != nil {
			return err
		}
		if err := r.Remove(a); err != nil {
			return err
		}
		if _, err := r.Get(ctx, "a"); !errors.Is(err, uow.ErrNotFound) {
			k.broken("Get of a removed aggregate should be ErrNotFound; got %v", err)
		}
		k.wantFound(ctx, u, "after a removal", uow.Query{})
		if err := u.Flush(ctx); err != nil {
			return err
		}
		if _, err := r.Get(ctx, "a"); !errors.Is(err, uow.ErrNotFound) {
			k.broken("Get of a removed and flushed aggregate should be ErrNotFound; got %v", err)
		}
		k.wantFound(ctx, u, "after a flushed removal", uow.Query{})
		return r.Add(&account{ID: "a", Balance: 5})
	})
	k.wantBalance("a", 5, "after it was removed and added again in one unit")
}

package uowtest

import (
	"context"
	"errors"

	"github.com/uow-go/uow"
)

func uniqueChecks() []Check {
	return []Check{
		{
			Name:  "Index_unique_refuses_duplicates",
			Rule:  "a value of a unique index that another row has must be refused with a *DuplicateError that names collection, id and index, and nothing of the unit be stored",
			needs: uniqueNeeded,
			run:   uniqueRefuses,
		}, {
			Name:  "Index_unique_missing_values",
			Rule:  "missing values of a unique index must not collide",
			needs: uniqueNeeded,
			run:   uniqueMissing,
		}, {
			Name:  "Index_unique_values_move_on",
			Rule:  "a value of a unique index that was freed earlier, also in the same change set, can be used again",
			needs: uniqueNeeded,
			run:   uniqueMovesOn,
		}, {
			Name:  "Index_unique_values_swap",
			Rule:  "aggregates of one unit can swap values of a unique index, pass them round, and take those of removed ones",
			needs: uniqueNeeded,
			run:   uniqueSwaps,
		}, {
			Name:  "Index_unique_holds_between_units",
			Rule:  "of units that take the same value of a unique index at the same time, exactly one must go through",
			needs: uniqueNeeded,
			run:   uniqueBetweenUnits,
		},
	}
}

// enrol adds or changes members in one unit; an empty email is none.
func (k *kit) enrol(pairs ...string) error {
	return k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		r := k.members.In(u)
		for i := 0; i < len(pairs); i += 2 {
			email := &pairs[i+1]
			if *email == "" {
				email = nil
			}
			known, err := r.GetMany(ctx, pairs[i])
			if err != nil {
				return err
			}
			if len(known) == 1 {
				known[0].Email = email
			} else if err := r.Add(&member{ID: pairs[i], Email: email}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k *kit) expel(u *uow.Unit, id string) error {
	m, err := k.members.In(u).Get(k.Context(), id)
	if err != nil {
		return err
	}
	return k.members.In(u).Remove(m)
}

// emails returns all members as id=email.
func (k *kit) wantEmails(when, want string) {
	k.Helper()
	got := ""
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		got = ""
		found, err := k.members.In(u).Find(ctx, uow.Query{})
		for _, m := range found {
			got += m.ID + "="
			if m.Email != nil {
				got += *m.Email
			}
			got += " "
		}
		return err
	})
	if got != want {
		k.broken("%s, the members should be %q; got %q", when, want, got)
	}
}

func (k *kit) wantDuplicate(err error, id string) {
	k.Helper()
	var duplicate *uow.DuplicateError
	want := uow.DuplicateError{Collection: "members", ID: id, Index: "email"}
	if !errors.As(err, &duplicate) || *duplicate != want || !errors.Is(err, uow.ErrDuplicate) {
		k.broken("the commit should fail with %+v; got %v", want, err)
	}
}

func uniqueRefuses(k *kit) {
	k.must("members with different values", k.enrol("a", "x", "b", "y"))
	k.wantDuplicate(k.enrol("c", "z", "d", "x"), "d")
	k.wantDuplicate(k.enrol("b", "x"), "b")
	k.wantDuplicate(k.enrol("e", "new", "f", "new"), "f")
	k.wantEmails("after three units were refused", "a=x b=y ")
	k.must("saving a member with its own value", k.enrol("a", "x", "c", "z"))
	k.wantEmails("after a unit without duplicates", "a=x b=y c=z ")
	k.must("a value that differs in case only", k.enrol("d", "X"))
}

func uniqueMissing(k *kit) {
	if err := k.enrol("a", "", "b", "", "c", "x"); err != nil {
		k.broken("two members without a value should be stored; got %v", err)
	}
	if err := k.enrol("c", "", "d", "x"); err != nil {
		k.broken("a member that gives up its value should free it; got %v", err)
	}
	k.wantEmails("after both", "a= b= c= d=x ")
}

func uniqueMovesOn(k *kit) {
	k.must("two members", k.enrol("a", "x", "b", "y", "z", "w"))
	if err := k.enrol("a", "new", "b", "x"); err != nil {
		k.broken("a value that the row before gave up should be free for the next; got %v", err)
	}
	k.wantEmails("after the value moved", "a=new b=x z=w ")
	err := k.do(k.Context(), func(_ context.Context, u *uow.Unit) error {
		email := "w"
		return errors.Join(k.members.In(u).Add(&member{ID: "c", Email: &email}), k.expel(u, "z"))
	})
	if err != nil {
		k.broken("a value of a row that the unit removed should be free for one that it added; got %v", err)
	}
	k.wantEmails("after the value of a removed row was used again", "a=new b=x c=w ")
	if err := k.enrol("d", "y", "z", "v"); err != nil {
		k.broken("a value that was given up in an earlier unit should be free; got %v", err)
	}
	k.wantDuplicate(k.enrol("e", "w"), "e")
}

func uniqueBetweenUnits(k *kit) {
	runs := 0
	err := k.granted(func() error {
		return k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			if _, err := k.members.In(u).Find(ctx, uow.Query{}); err != nil {
				return err
			}
			if runs++; runs == 1 {
				k.must("another unit", k.granted(func() error { return k.enrol("other", "x") }))
			}
			return k.members.In(u).Add(&member{ID: "a", Email: pointer("x")})
		})
	})
	k.wantDuplicate(err, "a")

	const units = 8
	results := make(chan error, units)
	for i := range units {
		go func() {
			results <- k.granted(func() error { return k.enrol(string(rune('b'+i)), "same") })
		}()
	}
	won := 0
	for range units {
		err := <-results
		if err == nil {
			won++
		} else if !errors.Is(err, uow.ErrDuplicate) && !errors.Is(err, uow.ErrConflict) {
			k.broken("a unit that loses should fail with ErrDuplicate or ErrConflict; got %v", err)
		}
	}
	if won != 1 {
		k.broken("of %d units that take one value, 1 should go through; got %d", units, won)
	}
}

func uniqueSwaps(k *kit) {
	k.must("adding", k.enrol("a", "1", "b", "2", "c", "3", "d", "4"))
	if err := k.enrol("a", "2", "b", "1"); err != nil {
		k.broken("two members should swap their values; got %v", err)
	}
	k.wantEmails("after a swap", "a=2 b=1 c=3 d=4 ")
	if err := k.enrol("a", "1", "b", "3", "c", "2", "e", "9"); err != nil {
		k.broken("three members should pass their values round; got %v", err)
	}
	k.wantEmails("after passing them round", "a=1 b=3 c=2 d=4 e=9 ")
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		r := k.members.In(u)
		a, err := r.Get(ctx, "a")
		if err != nil {
			return err
		}
		freed := "1"
		a.Email = pointer("4")
		return errors.Join(k.expel(u, "d"), r.Add(&member{ID: "0", Email: &freed}), u.Flush(ctx))
	})
	if err != nil {
		k.broken("values of removed and changed members should be taken; got %v", err)
	}
	k.wantEmails("after handing them on", "0=1 a=4 b=3 c=2 e=9 ")
	if err := k.enrol("a", "3", "b", "4", "c", "9"); !errors.Is(err, uow.ErrDuplicate) {
		k.broken("a value that its member keeps should be refused with ErrDuplicate; got %v", err)
	}
	k.wantEmails("after a refusal", "0=1 a=4 b=3 c=2 e=9 ")
}

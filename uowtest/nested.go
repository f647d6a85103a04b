package uowtest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

func nestedChecks() []Check {
	return []Check{
		{
			Name:  "P16_nested_failure_leaves_no_trace",
			Rule:  "a nested unit that fails must leave rows and aggregates as they were, and the unit must go on",
			needs: nestingNeeded,
			run:   nestedFailure,
		}, {
			Name:  "P16_nested_native_writes",
			Rule:  "native writes in a nested unit that fails must be undone, and those around it must stay",
			needs: nestingNeeded | nativeNeeded,
			run:   nestedNative,
		}, {
			Name:  "P16_nested_events_and_messages",
			Rule:  "events and messages of a nested unit that fails must be gone, flushed ones too, and leave no gap",
			needs: nestingNeeded | outboxNeeded,
			run:   nestedMessages,
		}, {
			Name:  "P16_nested_hooks",
			Rule:  "of a nested unit that fails, the hooks around the commit must be gone, and the AfterRollback hooks must have run, in reverse order and once",
			needs: nestingNeeded,
			run:   nestedHooks,
		}, {
			Name:  "P16_nested_success_is_part_of_the_unit",
			Rule:  "what a nested unit did that went well must be committed and rolled back with the unit",
			needs: nestingNeeded,
			run:   nestedSuccess,
		}, {
			Name:  "P16_nested_in_nested",
			Rule:  "of nested units in nested units, exactly what is in a failed one must be undone",
			needs: nestingNeeded,
			run:   nestedInNested,
		},
	}
}

// start is what a unit has done when its nested unit begins.
type start struct {
	when string
	cold bool // the store's transaction has not begun
	do   func(ctx context.Context, u *uow.Unit) error
}

func (k *kit) starts() []start {
	all := []start{
		{"in a unit that has done nothing", true, func(context.Context, *uow.Unit) error { return nil }},
		{"in a unit that has read", false, func(ctx context.Context, u *uow.Unit) error {
			_, err := k.accounts.In(u).Find(ctx, uow.Query{Limit: 1})
			return err
		}},
		{"in a unit that has flushed", false, func(ctx context.Context, u *uow.Unit) error {
			return errors.Join(k.entries.In(u).Add(&entry{ID: u.ID()}), u.Flush(ctx))
		}},
	}
	if k.h.Native != nil {
		all = append(all, start{"in a unit that has written natively", false, func(ctx context.Context, u *uow.Unit) error {
			return k.h.Native.Insert(ctx, u, u.ID())
		}})
	}
	return all
}

// each runs a unit for each start, with names of its own, which must commit.
func (k *kit) each(fn func(ctx context.Context, u *uow.Unit, s start, name func(string) string) error) {
	k.Helper()
	for i, s := range k.starts() {
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			if err := s.do(ctx, u); err != nil {
				return err
			}
			return fn(ctx, u, s, func(id string) string { return fmt.Sprint(id, i) })
		})
		if err != nil {
			k.broken("%s, the unit should commit after its nested units; got %v", s.when, err)
		}
	}
}

func nestedFailure(k *kit) {
	k.save("a0", "gone0", "a1", "gone1", "a2", "gone2", "a3", "gone3")
	k.each(k.failNested)
	for i, s := range k.starts() {
		a := k.look(fmt.Sprint("a", i))
		if want := (saved{found: true, version: 2, balance: 105}); a != want {
			k.broken("%s, what was changed around the failed nested unit should be committed as %+v; got %+v", s.when, want, a)
		}
		if gone := k.look(fmt.Sprint("gone", i)); gone != (saved{found: true, version: 1, balance: 100}) {
			k.broken("%s, what the failed nested unit removed should be as before; got %+v", s.when, gone)
		}
		k.wantBalance(fmt.Sprint("mine", i), 1, s.when)
		k.wantBalance(fmt.Sprint("again", i), 7, s.when)
		k.wantNone(s.when, fmt.Sprint("flushed", i), fmt.Sprint("pending", i))
	}
}

// failNested is a unit with a nested unit that fails.
func (k *kit) failNested(ctx context.Context, u *uow.Unit, s start, name func(string) string) error {
	r := k.accounts.In(u)
	mine := &account{ID: name("mine"), Balance: 1}
	k.must("Add", r.Add(mine))
	var known, inside *account
	if !s.cold {
		var err error
		known, err = r.Get(ctx, name("a"))
		k.must("Get", err)
		known.Balance += 5
	}
	err := k.nested(ctx, u, func(ctx context.Context, u *uow.Unit) (err error) {
		inside, err = r.Get(ctx, name("a"))
		k.must("Get", err)
		gone, err := r.Get(ctx, name("gone"))
		k.must("Get", err)
		mine.Balance, inside.Balance, inside.Tags = 50, 1000, map[string]string{"x": "y"}
		k.must("changes", errors.Join(r.Remove(gone), r.Add(&account{ID: name("flushed")}), u.Flush(ctx)))
		inside.Balance++
		k.must("changes", errors.Join(r.Remove(mine), r.Add(&account{ID: name("pending")}), r.Add(&account{ID: name("again")})))
		return errBoom
	})
	if err != errBoom { //nolint:errorlint // unchanged means the same value
		k.broken("%s, the closure's error itself should come back; got %v", s.when, err)
	}
	now, err := r.Get(ctx, name("a"))
	k.must("Get after the nested unit", err)
	switch {
	case s.cold && now == inside:
		k.broken("%s, an aggregate that the nested unit loaded should be detached; the unit still has it", s.when)
	case s.cold:
		now.Balance += 5
	case now != known:
		k.broken("%s, an aggregate should stay the same pointer; it is another one", s.when)
	}
	if version, err := r.Version(now); now.Balance != 105 || now.Tags != nil || version != 1 || err != nil {
		k.broken("%s, accounts/%s should be as before the nested unit, with version 1; got %+v with %d, %v", s.when, now.ID, now, version, err)
	}
	if version, err := r.Version(mine); mine.Balance != 1 || version != 0 || err != nil {
		k.broken("%s, an added aggregate should be as before the nested unit, with version 0; got %+v with %d, %v", s.when, mine, version, err)
	}
	k.wantUnseen(ctx, u, s.when, name)
	return r.Add(&account{ID: name("again"), Balance: 7})
}

// wantUnseen demands that the unit does not see what its failed nested unit added
// and removed.
func (k *kit) wantUnseen(ctx context.Context, u *uow.Unit, when string, name func(string) string) {
	k.Helper()
	found, err := k.accounts.In(u).GetMany(ctx, name("flushed"), name("pending"), name("again"), name("gone"))
	if err != nil || len(found) != 1 || found[0].ID != name("gone") {
		k.broken("%s, of what the nested unit added and removed, only the removed should be there; got %v, %v", when, found, err)
	}
	all, err := k.accounts.In(u).Find(ctx, uow.Query{Where: []uow.Condition{uow.In("id", name("flushed"), name("pending"), name("gone"))}})
	if err != nil || len(all) != 1 || all[0].ID != name("gone") {
		k.broken("%s, a query should find only what the nested unit removed; got %v, %v", when, all, err)
	}
}

func nestedNative(k *kit) {
	insert := func(ctx context.Context, u *uow.Unit, name string) {
		k.must("a native write", k.h.Native.Insert(ctx, u, name))
	}
	k.each(func(ctx context.Context, u *uow.Unit, s start, name func(string) string) error {
		if !s.cold {
			insert(ctx, u, name("before"))
		}
		err := k.nested(ctx, u, func(ctx context.Context, u *uow.Unit) error {
			insert(ctx, u, name("inside"))
			return errBoom
		})
		if !errors.Is(err, errBoom) {
			k.broken("%s, the closure's error should come back; got %v", s.when, err)
		}
		k.wantNative(ctx, u, name("inside"), 0, s.when+", after the nested unit failed")
		k.must("a nested unit", k.nested(ctx, u, func(ctx context.Context, u *uow.Unit) error {
			insert(ctx, u, name("kept"))
			return nil
		}))
		insert(ctx, u, name("after"))
		return nil
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		for i, s := range k.starts() {
			k.wantNative(ctx, u, fmt.Sprint("inside", i), 0, s.when+", after the commit")
			k.wantNative(ctx, u, fmt.Sprint("kept", i), 1, s.when+", after the commit")
			k.wantNative(ctx, u, fmt.Sprint("after", i), 1, s.when+", after the commit")
			if !s.cold {
				k.wantNative(ctx, u, fmt.Sprint("before", i), 1, s.when+", after the commit")
			}
		}
		return nil
	})
}

func nestedMessages(k *kit) {
	k.save("a0", "a1", "a2", "a3")
	send := func(u *uow.Unit, text string) {
		k.must("Append", outbox.Append(u, outbox.Message{Type: text}))
	}
	var want []string
	k.each(func(ctx context.Context, u *uow.Unit, _ start, name func(string) string) error {
		mine := &account{ID: name("mine")}
		mine.open("alice")
		k.must("Add", k.accounts.In(u).Add(mine))
		send(u, "before")
		_ = k.nested(ctx, u, func(ctx context.Context, u *uow.Unit) error {
			a, err := k.accounts.In(u).Get(ctx, name("a"))
			k.must("Get", err)
			a.add(1)
			mine.add(1)
			send(u, "flushed")
			k.must("Flush", u.Flush(ctx))
			a.add(1)
			mine.add(1)
			send(u, "pending")
			return errBoom
		})
		a, err := k.accounts.In(u).Get(ctx, name("a"))
		k.must("Get", err)
		a.add(1)
		k.must("a nested unit", k.nested(ctx, u, func(ctx context.Context, u *uow.Unit) error {
			mine.add(1)
			return u.Flush(ctx)
		}))
		a.add(1)
		send(u, "after")
		want = append(want, "opened accounts/"+mine.ID, "before ", "changed accounts/"+a.ID,
			"changed accounts/"+mine.ID, "changed accounts/"+a.ID, "after ")
		return nil
	})
	k.wantMessages("after units with a failed nested unit each", want...)
	next := map[string]int64{}
	for _, m := range k.messages() {
		if next[m.AggregateID]++; m.AggregateID != "" && m.Sequence != next[m.AggregateID] {
			k.broken("the events of accounts/%s should be numbered without a gap; number %d comes in the place of %d", m.AggregateID, m.Sequence, next[m.AggregateID])
		}
	}
}

func nestedHooks(k *kit) {
	k.save("a")
	var ran []string
	register := func(u *uow.Unit, name string) {
		k.must("registering hooks", errors.Join(
			u.BeforeCommit(func(context.Context) error { ran = append(ran, "before "+name); return nil }),
			u.AfterCommit(func(context.Context) error { ran = append(ran, "after "+name); return nil }),
			u.AfterRollback(func(_ context.Context, cause error) error {
				ran = append(ran, fmt.Sprintf("undo %s because of %v", name, errors.Is(cause, errBoom)))
				return nil
			}),
		))
	}
	unit := func(result error) error {
		ran = nil
		return k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			register(u, "1")
			err := k.nested(ctx, u, func(ctx context.Context, u *uow.Unit) error {
				register(u, "2")
				register(u, "3")
				return errors.Join(k.change(ctx, u, "a", 1), u.Flush(ctx), errBoom)
			})
			ran = append(ran, fmt.Sprint("nested failed: ", errors.Is(err, errBoom)))
			k.must("a nested unit", k.nested(ctx, u, func(_ context.Context, u *uow.Unit) error { register(u, "4"); return nil }))
			return result
		})
	}
	k.must("the unit", unit(nil))
	undone := []string{"undo 3 because of true", "undo 2 because of true", "nested failed: true"}
	k.wantRan("when the unit is committed", ran, append(slices.Clone(undone), "before 1", "before 4", "after 1", "after 4"))
	_ = unit(errBoom)
	k.wantRan("when the unit is rolled back", ran, append(slices.Clone(undone), "undo 4 because of true", "undo 1 because of true"))
}

func (k *kit) wantRan(when string, got, want []string) {
	k.Helper()
	if !slices.Equal(got, want) {
		k.broken("%s, of hooks 1, then 2 and 3 in a nested unit that fails, then 4 in one that goes well, %q should run; got %q", when, want, got)
	}
}

package uowtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

func atomicityChecks() []Check {
	return []Check{
		{
			Name: "P01_all_or_nothing",
			Rule: "a commit must make all changes of its unit visible, in every collection, or none when one of them is refused",
			run:  allOrNothing,
		}, {
			Name:  "P01_messages_and_rows_together",
			Rule:  "messages must be stored by the same commit as the rows, and by none when a row is refused",
			needs: outboxNeeded,
			run:   messagesAndRows,
		}, {
			Name: "P01_nothing_visible_before_the_commit",
			Rule: "other units must see nothing of a unit before its commit, also when it has flushed",
			run:  nothingVisibleBefore,
		}, {
			Name: "P01_one_snapshot",
			Rule: "all reads of a unit must see one snapshot, taken by the first of them, whatever others commit meanwhile",
			run:  oneSnapshot,
		}, {
			Name:  "P01_native_writes",
			Rule:  "what the user's own statements write in a unit must be committed and rolled back with it",
			needs: nativeNeeded,
			run:   nativeWrites,
		},
	}
}

// spread changes two accounts and adds one, and an entry with an id.
func (k *kit) spread(ctx context.Context, u *uow.Unit, entryID string) error {
	return errors.Join(
		k.change(ctx, u, "a", 1),
		k.change(ctx, u, "b", -1),
		k.accounts.In(u).Add(&account{ID: "new", Balance: 7}),
		k.entries.In(u).Add(&entry{ID: "e0", Amount: 1}),
		k.entries.In(u).Add(&entry{ID: entryID, Amount: 2}),
	)
}

func allOrNothing(k *kit) {
	k.save("a", "b")
	k.setUp(func(_ context.Context, u *uow.Unit) error { return k.entries.In(u).Add(&entry{ID: "taken"}) })

	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error { return k.spread(ctx, u, "taken") })
	if !errors.Is(err, uow.ErrConflict) {
		k.broken("a unit that adds an entry whose id is taken should fail with ErrConflict; got %v", err)
	}
	const refused = "after a commit that was refused because of its last row"
	k.wantBalance("a", 100, refused)
	k.wantBalance("b", 100, refused)
	k.wantNone(refused, "new")
	k.wantEntries(refused, "taken")

	err = k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error { return k.spread(ctx, u, "free") })
	if err != nil {
		k.broken("a unit without a conflict should commit; got %v", err)
	}
	const done = "after the commit"
	k.wantBalance("a", 101, done)
	k.wantBalance("b", 99, done)
	k.wantBalance("new", 7, done)
	k.wantEntries(done, "e0", "free", "taken")
}

func (k *kit) wantEntries(when string, want ...string) {
	k.Helper()
	var got []string
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		found, err := k.entries.In(u).Find(ctx, uow.Query{})
		for _, e := range found {
			got = append(got, e.ID)
		}
		return err
	})
	if fmt.Sprint(got) != fmt.Sprint(want) {
		k.broken("%s, there should be the entries %v; got %v", when, want, got)
	}
}

func messagesAndRows(k *kit) {
	k.save("a", "b")
	run := func(id string) error {
		return k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			return errors.Join(
				outbox.Append(u, outbox.Message{Type: "first", Key: "k"}),
				k.spread(ctx, u, id),
				outbox.Append(u, outbox.Message{Type: "second", Key: "k"}),
			)
		})
	}
	k.setUp(func(_ context.Context, u *uow.Unit) error { return k.entries.In(u).Add(&entry{ID: "taken"}) })
	if err := run("taken"); !errors.Is(err, uow.ErrConflict) {
		k.broken("a unit that adds an entry whose id is taken should fail with ErrConflict; got %v", err)
	}
	k.wantMessages("after a commit that was refused")
	k.must("a unit without a conflict", run("free"))
	k.wantMessages("after the commit", "first k", "second k")
	k.wantBalance("a", 101, "after the commit")
}

func nothingVisibleBefore(k *kit) {
	k.save("a")
	u := k.db.Begin()
	defer u.Close()
	ctx := k.Context()
	k.must("changing a", k.change(ctx, u, "a", 1))
	k.must("adding", k.accounts.In(u).Add(&account{ID: "new", Balance: 7}))
	k.wantBalance("a", 100, "before the unit has flushed or committed")
	k.must("Flush", u.Flush(ctx))
	k.wantBalance("a", 100, "after the unit has flushed, but not committed")
	k.wantNone("after the unit has flushed, but not committed", "new")
	k.must("changing a again", k.change(ctx, u, "a", 1))
	k.must("Commit", u.Commit(ctx))
	k.wantBalance("a", 102, "after the commit of what was flushed and of what followed")
	k.wantBalance("new", 7, "after the commit")
}

func oneSnapshot(k *kit) {
	k.save("a", "b", "gone")
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		if _, err := k.accounts.In(u).Get(ctx, "a"); err != nil {
			return err
		}
		k.setUp(func(ctx context.Context, other *uow.Unit) error {
			gone, err := k.accounts.In(other).Get(ctx, "gone")
			return errors.Join(err,
				k.change(ctx, other, "b", 1),
				k.accounts.In(other).Remove(gone),
				k.accounts.In(other).Add(&account{ID: "new"}),
			)
		})
		b, err := k.accounts.In(u).Get(ctx, "b")
		if err != nil {
			return err
		}
		if b.Balance != 100 {
			k.broken("Get after another unit's commit should still see the balance 100; got %d", b.Balance)
		}
		return k.wantSnapshotQuery(ctx, u)
	})
	k.wantBalance("b", 101, "in a unit that began after the other's commit")
}

func (k *kit) wantSnapshotQuery(ctx context.Context, u *uow.Unit) error {
	found, err := k.accounts.In(u).Find(ctx, uow.Query{})
	if err != nil {
		return err
	}
	var ids []string
	for _, a := range found {
		ids = append(ids, a.ID)
	}
	if fmt.Sprint(ids) != "[a b gone]" {
		k.broken("Find after another unit's commit should still see a, b and gone; got %v", ids)
	}
	if _, err := k.accounts.In(u).Get(ctx, "new"); !errors.Is(err, uow.ErrNotFound) {
		k.broken("Get of what another unit added meanwhile should be ErrNotFound; got %v", err)
	}
	return nil
}

func nativeWrites(k *kit) {
	write := func(name string, result error) {
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			k.must("Native.Insert", k.h.Native.Insert(ctx, u, name))
			k.wantNative(ctx, u, name, 1, "in the unit that wrote it")
			return errors.Join(k.accounts.In(u).Add(&account{ID: name}), result)
		})
		if !errors.Is(err, result) {
			k.broken("the unit should end with %v; got %v", result, err)
		}
	}
	write("rolled-back", errBoom)
	write("committed", nil)
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		k.wantNative(ctx, u, "rolled-back", 0, "after the rollback")
		k.wantNative(ctx, u, "committed", 1, "after the commit")
		return nil
	})
	k.wantNone("after the rollback", "rolled-back")
	k.wantBalance("committed", 0, "after the commit")
}

func (k *kit) wantNative(ctx context.Context, u *uow.Unit, name string, want int, when string) {
	k.Helper()
	got, err := k.h.Native.Count(ctx, u, name)
	k.must("Native.Count", err)
	if got != want {
		k.broken("%s, the user's table should have %d rows named %s; got %d", when, want, name, got)
	}
}

package uowtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

func storeChecks() []Check {
	return []Check{
		{
			Name: "Store_many_rows",
			Rule: "a store must take units of thousands of rows, and questions for thousands of ids",
			run:  manyRows,
		}, {
			Name: "Store_empty_units",
			Rule: "a unit without changes must commit and roll back, used or not",
			run:  emptyUnits,
		}, {
			Name: "Store_closed",
			Rule: "after Close everything must fail, units that were open included, and nothing of them be stored",
			run:  closedStore,
		}, {
			Name:  "Store_closed_log",
			Rule:  "after Close the log must answer every call with an error",
			needs: outboxNeeded,
			run:   closedLog,
		}, {
			Name:  "Store_reopened",
			Rule:  "what was committed must be there when the database is opened again: rows, versions, what is remembered of removed rows, messages, cursors, leases and held messages",
			needs: reopenNeeded,
			run:   reopened,
		}, {
			Name: "Store_disposable_collection",
			Rule: "a collection whose ids never come back must work as any other, conflicts with removed rows included",
			run:  disposable,
		},
	}
}

func disposable(k *kit) {
	remove := func(ctx context.Context, u *uow.Unit, id string) error {
		d, err := k.drafts.In(u).Get(ctx, id)
		return errors.Join(err, k.drafts.In(u).Remove(d))
	}
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		return errors.Join(k.drafts.In(u).Add(&entry{ID: "a"}), k.drafts.In(u).Add(&entry{ID: "kept", Amount: 1}))
	})
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		return errors.Join(k.drafts.In(u).Add(&entry{ID: "flushed"}), u.Flush(ctx), remove(ctx, u, "flushed"), remove(ctx, u, "a"))
	})
	if err != nil {
		k.broken("a unit that removes rows, one of them its own, should commit; got %v", err)
	}
	for what, change := range map[string]func(d *entry, r *uow.Repository[entry]) error{
		"changes": func(d *entry, _ *uow.Repository[entry]) error { d.Amount++; return nil },
		"removes": func(d *entry, r *uow.Repository[entry]) error { return r.Remove(d) },
	} {
		k.setUp(func(_ context.Context, u *uow.Unit) error { return k.drafts.In(u).Add(&entry{ID: what}) })
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			d, err := k.drafts.In(u).Get(ctx, what)
			k.must("Get", err)
			k.setUp(func(ctx context.Context, u *uow.Unit) error { return remove(ctx, u, what) })
			return change(d, k.drafts.In(u))
		})
		if !errors.Is(err, uow.ErrConflict) {
			k.broken("a unit that %s a row which another unit has removed should fail with ErrConflict; got %v", what, err)
		}
	}
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		all, err := k.drafts.In(u).Find(ctx, uow.Query{})
		if err == nil && (len(all) != 1 || all[0].ID != "kept" || all[0].Amount != 1) {
			k.broken("one row should be left; got %d", len(all))
		}
		return err
	})
}

func manyRows(k *kit) {
	const n = 3000
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("a%05d", i)
	}
	k.save(ids...)
	k.must("changing all", k.changeAll(ids, func() {}))
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		all, err := k.accounts.In(u).Find(ctx, uow.Query{Where: []uow.Condition{uow.In("id", append(ids, "nobody")...)}})
		if err != nil {
			return err
		}
		if len(all) != n {
			k.broken("a query for %d ids should find all; got %d", n, len(all))
		}
		for i, a := range all {
			if a.ID != ids[i] || a.Balance != 101 {
				k.broken("row %d should be %s with the balance 101; got %s with %d", i, ids[i], a.ID, a.Balance)
				break
			}
			if err := k.accounts.In(u).Remove(a); err != nil {
				return err
			}
		}
		return nil
	})
	k.wantNone("after all were removed", ids[0], ids[57], ids[n-1])
}

func emptyUnits(k *kit) {
	k.save("a")
	for _, result := range []error{nil, errBoom} {
		for _, fn := range []func(ctx context.Context, u *uow.Unit) error{
			func(context.Context, *uow.Unit) error { return result },
			func(ctx context.Context, u *uow.Unit) error { return errors.Join(u.Flush(ctx), result) },
			func(ctx context.Context, u *uow.Unit) error { return errors.Join(k.change(ctx, u, "a", 0), result) },
			func(_ context.Context, u *uow.Unit) error {
				a := &account{ID: "never"}
				r := k.accounts.In(u)
				return errors.Join(r.Add(a), r.Remove(a), result)
			},
		} {
			if err := k.do(k.Context(), fn); !errors.Is(err, result) {
				k.broken("a unit without changes should end with %v; got %v", result, err)
			}
		}
	}
	k.wantVersion("a", 1, "after units without changes")
	k.wantNone("after units without changes", "never")
}

func closedStore(k *kit) {
	k.save("a")
	ctx := k.Context()
	used, flushed, fresh := k.db.Begin(), k.db.Begin(), k.db.Begin()
	k.must("changing a", k.change(ctx, used, "a", 1))
	k.must("adding b", errors.Join(k.accounts.In(flushed).Add(&account{ID: "b"}), flushed.Flush(ctx)))
	k.must("adding c", k.accounts.In(fresh).Add(&account{ID: "c"}))
	k.must("Close", k.db.Close())
	if _, err := k.accounts.In(used).Get(ctx, "b"); err == nil {
		k.broken("Get in an open unit should fail; got nil")
	}
	for name, u := range map[string]*uow.Unit{"has read": used, "has flushed": flushed, "has done nothing yet": fresh} {
		if err := u.Commit(ctx); err == nil {
			k.broken("the commit of an open unit that %s should fail; got nil", name)
		}
		_ = u.Close()
	}
	err := k.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error { return k.change(ctx, u, "a", 1) })
	if err == nil {
		k.broken("a new unit that reads should fail; got nil")
	}
	if k.h.Reopen == nil {
		return
	}
	k.db = k.h.Reopen(k.TB, k.config())
	k.wantBalance("a", 100, "when the database is opened again")
	k.wantNone("when the database is opened again", "b", "c")
}

func closedLog(k *kit) {
	r := k.newRelay("relay", "a")
	ctx := k.Context()
	k.must("Close", k.db.Close())
	calls := map[string]func() error{
		"Acquire": func() error { _, err := r.log.Acquire(ctx, outbox.Claim{Cursor: "relay", Force: true}); return err },
		"Scan":    func() error { _, _, err := r.log.Scan(ctx, outbox.Query{Limit: 1}); return err },
		"Held":    func() error { _, err := r.log.Held(ctx, "relay", outbox.HeldFilter{}); return err },
		"Settle":  func() error { return r.log.Settle(ctx, r.lease, outbox.Settlement{Position: 1}) },
		"Redrive": func() error { _, err := r.log.Redrive(ctx, "relay", []int64{1}); return err },
		"Discard": func() error { _, err := r.log.Discard(ctx, "relay", []int64{1}); return err },
		"Park":    func() error { _, err := r.log.Park(ctx, "relay", []int64{1}, "why"); return err },
		"Replay":  func() error { _, err := r.log.Replay(ctx, "relay", []int64{1}); return err },
		"Trim":    func() error { _, err := r.log.Trim(ctx, k.clock.Now(), 1); return err },
		"Stats":   func() error { _, err := r.log.Stats(ctx); return err },
		"Drop":    func() error { return r.log.Drop(ctx, "relay") },
		"Promote": func() error { _, err := r.log.Promote(ctx, 1); return err },
		"Undelay": func() error { _, err := r.log.Undelay(ctx, []string{"a"}); return err },
		"Release": func() error { return r.log.Release(ctx, r.lease) },
		"Join":    func() error { _, err := r.log.Join(ctx, "relay", "me", time.Hour); return err },
		"Resplit": func() error { return r.log.Resplit(ctx, []outbox.Lease{r.lease}, 2) },
	}
	for name, call := range calls {
		if err := call(); err == nil || errors.Is(err, outbox.ErrLeaseLost) {
			k.broken("%s should fail, and not with ErrLeaseLost; got %v", name, err)
		}
	}
}

func reopened(k *kit) {
	k.save("a", "gone")
	k.meanwhile("a", 1)
	k.removeNow("gone")
	var r *relay
	if !k.h.Lacks.Outbox {
		k.setUp(func(_ context.Context, u *uow.Unit) error {
			a := &account{ID: "events"}
			a.open("alice")
			return k.accounts.In(u).Add(a)
		})
		r = k.newRelay("relay", "a", "a", "b", "", "")
		r.park()
	}
	k.must("Close", k.db.Close())
	k.db = k.h.Reopen(k.TB, k.config())

	const when = "when the database is opened again"
	if got := k.look("a"); got.balance != 101 || got.version != 2 {
		k.broken("%s, accounts/a should have the balance 101 and version 2; got %+v", when, got)
	}
	k.wantNone(when, "gone")
	k.save("gone")
	if got := k.look("gone"); got.version < 2 {
		k.broken("%s, the version of an aggregate that was removed and added again should have gone on; got %+v", when, got)
	}
	if r != nil {
		k.reopenedLog(r, when)
	}
}

func (k *kit) reopenedLog(r *relay, when string) {
	k.Helper()
	r.log = k.log()
	if got := k.messages(); len(got) != 6 || got[0].ID != r.ids[r.positions[0]] {
		k.broken("%s, the log should have its 6 messages; got %v", when, got)
	}
	r.wantHeld(when, outbox.HeldFilter{}, 0, 1, 2, 3, 4)
	r.settle(outbox.Settlement{Release: []int64{r.positions[0]}}) // nobody has taken the lease
	again := r.acquire("relay")
	if again.Epoch <= r.lease.Epoch || again.Position != r.positions[5] {
		k.broken("%s, the cursor should be at %d, with an epoch greater than %d; got %+v", when, r.positions[5], r.lease.Epoch, again)
	}
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		a, err := k.accounts.In(u).Get(ctx, "events")
		if err == nil {
			a.add(1)
		}
		return err
	})
	got := k.messages()
	if last := got[len(got)-1]; last.Sequence != 2 || last.Position <= r.positions[5] {
		k.broken("%s, the next event of an aggregate should have the sequence 2, and a position after %d; got %+v", when, r.positions[5], last)
	}
}

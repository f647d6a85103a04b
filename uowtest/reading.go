package uowtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/uow-go/uow"
)

func readingChecks() []Check {
	return []Check{
		{
			Name: "P09_counts_and_streams_see_own_changes",
			Rule: "Count, Exists, Page and All must see the unit's own changes, new and removed aggregates included",
			run:  countsSeeOwnChanges,
		}, {
			Name: "P09_streams_are_whole",
			Rule: "All must yield each aggregate of a long result once, in order, also when the loop changes, removes, adds and flushes",
			run:  streamsAreWhole,
		}, {
			Name: "P01_views_are_one_snapshot",
			Rule: "everything that a view reads must be of one moment, and what is done to its aggregates have no effect",
			run:  viewsAreOneSnapshot,
		}, {
			Name: "P11_serializable_checks_what_was_read",
			Rule: "of two serializable units that each write what the other has read, by id or by query, missing aggregates included, the second to commit must fail with ErrConflict or ErrRetryable",
			run:  serializableChecksReads,
		}, {
			Name: "P11_serializable_goes_through",
			Rule: "a serializable unit must commit when nothing that it has read was changed by others, whatever it has written and flushed itself",
			run:  serializableGoesThrough,
		}, {
			Name:  "P11_locked_aggregates_do_not_conflict",
			Rule:  "units that begin by locking the same aggregate must wait for each other and all commit, without a conflict",
			needs: lockingNeeded,
			run:   lockedDoNotConflict,
		}, {
			Name:  "P11_locks_keep_others_out",
			Rule:  "an aggregate that a unit has locked must not be changed by another before the unit has ended",
			needs: lockingNeeded,
			run:   locksKeepOthersOut,
		},
	}
}

// wantResult demands that every way to ask a query gives these ids.
func (k *kit) wantResult(ctx context.Context, u *uow.Unit, q uow.Query, want ...string) {
	k.Helper()
	r := k.accounts.In(u)
	n, err := r.Count(ctx, q)
	if n != len(want) || err != nil {
		k.broken("Count should be %d; got %d, %v", len(want), n, err)
	}
	if exists, err := r.Exists(ctx, q); exists != (len(want) > 0) || err != nil {
		k.broken("Exists should be %v; got %v, %v", len(want) > 0, exists, err)
	}
	if got := k.paged(ctx, r, q, 2); !slices.Equal(got, want) {
		k.broken("pages of two should have %v; got %v", want, got)
	}
	if got := k.streamed(ctx, r, q); !slices.Equal(got, want) {
		k.broken("All should yield %v; got %v", want, got)
	}
}

func (k *kit) streamed(ctx context.Context, r *uow.Repository[account], q uow.Query) (ids []string) {
	k.Helper()
	for a, err := range r.All(ctx, q) {
		k.must("All", err)
		ids = append(ids, a.ID)
	}
	return ids
}

func (k *kit) paged(ctx context.Context, r *uow.Repository[account], q uow.Query, size int) (ids []string) {
	k.Helper()
	q.Limit = size
	for after := ""; ; {
		page, next, err := r.Page(ctx, q, after)
		k.must("Page", err)
		for _, a := range page {
			ids = append(ids, a.ID)
		}
		if next == "" || len(ids) > 1000 {
			return ids
		}
		after = next
	}
}

func countsSeeOwnChanges(k *kit) {
	k.save("a", "b", "c", "d", "e")
	rich := uow.Query{Where: []uow.Condition{uow.GreaterOrEqual("balance", 100)}, Order: []uow.Order{uow.Descending("balance")}}
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		k.wantResult(ctx, u, rich, "a", "b", "c", "d", "e")
		return nil
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		r := k.accounts.In(u)
		b, err := r.Get(ctx, "b")
		if err != nil {
			return err
		}
		c, err := r.Get(ctx, "c")
		if err != nil {
			return err
		}
		b.Balance = 1
		if err := errors.Join(r.Remove(c), r.Add(&account{ID: "z", Balance: 300}), k.change(ctx, u, "d", 50)); err != nil {
			return err
		}
		k.wantResult(ctx, u, rich, "z", "d", "a", "e")
		if n, err := r.Count(ctx, uow.Query{Where: rich.Where, Limit: 3}); n != 3 || err != nil {
			k.broken("Count with a limit of 3 should be 3; got %d, %v", n, err)
		}
		if err := u.Flush(ctx); err != nil {
			return err
		}
		k.wantResult(ctx, u, rich, "z", "d", "a", "e")
		return nil
	})
}

func streamsAreWhole(k *kit) {
	const n = 600
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("a%04d", i)
	}
	k.save(ids...)
	q := uow.Query{Where: []uow.Condition{uow.Equal("owner", "nobody")}, Order: []uow.Order{uow.Ascending("balance")}}
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		r := k.accounts.In(u)
		var got []string
		for a, err := range r.All(ctx, q) {
			if err != nil {
				return err
			}
			got = append(got, a.ID)
			switch i := len(got); {
			case i%100 == 0:
				err = errors.Join(r.Add(&account{ID: fmt.Sprintf("b%d", i), Owner: "nobody", Balance: 1000}), u.Flush(ctx))
			case i%2 == 0:
				a.Balance += 500 // behind everything: must not come again
			case i%7 == 0:
				err = r.Remove(a)
			}
			if err != nil {
				return err
			}
		}
		if !slices.Equal(got, ids) {
			k.broken("All should yield the %d aggregates that were there, once; got %d", n, len(got))
		}
		return nil
	})
	err := k.db.View(k.Context(), func(ctx context.Context, v *uow.View) error {
		last, count := (*account)(nil), 0
		for a, err := range k.accounts.From(v).All(ctx, q) {
			if err != nil {
				return err
			}
			if last != nil && (last.Balance > a.Balance || last.Balance == a.Balance && last.ID >= a.ID) {
				k.broken("All should yield %s (%d) before %s (%d)", a.ID, a.Balance, last.ID, last.Balance)
			}
			last, count = a, count+1
		}
		if want, err := k.accounts.From(v).Count(ctx, q); want != count || err != nil {
			k.broken("a view's All should yield as many as Count says, %d; got %d, %v", want, count, err)
		}
		return nil
	})
	k.must("the view", err)
}

func viewsAreOneSnapshot(k *kit) {
	k.save("a", "b")
	err := k.db.View(k.Context(), func(ctx context.Context, v *uow.View) error {
		r := k.accounts.From(v)
		a, err := r.Get(ctx, "a")
		if err != nil {
			return err
		}
		k.meanwhile("a", 1)
		k.meanwhile("b", 1)
		b, err := r.Get(ctx, "b")
		if err != nil {
			return err
		}
		all, err := r.Find(ctx, uow.Query{Where: []uow.Condition{uow.Greater("balance", 100)}})
		if a.Balance != 100 || b.Balance != 100 || len(all) != 0 || err != nil {
			k.broken("a view should see the balances before the changes, 100 and 100, and none above; got %d, %d and %d, %v", a.Balance, b.Balance, len(all), err)
		}
		if n, err := r.Count(ctx, uow.Query{Where: []uow.Condition{uow.Greater("balance", 100)}}); n != 0 || err != nil {
			k.broken("a view should count what it sees, none above 100; got %d, %v", n, err)
		}
		a.add(50)
		return nil
	})
	k.must("the view", err)
	k.wantBalance("a", 101, "after a view changed its copy")
	boom := k.db.View(k.Context(), func(context.Context, *uow.View) error { return errBoom })
	if !errors.Is(boom, errBoom) {
		k.broken("a view's error should come back; got %v", boom)
	}
}

// serializable runs a unit that reads, lets another change something, and then
// writes entries/w.
func (k *kit) serializable(read func(ctx context.Context, u *uow.Unit) error, between func()) error {
	return k.db.With(uow.UnitOptions{Serializable: true}).Do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		if err := read(ctx, u); err != nil {
			return err
		}
		between()
		w, err := k.entries.In(u).GetMany(ctx, "w")
		if err != nil {
			return err
		}
		if len(w) == 0 {
			return k.entries.In(u).Add(&entry{ID: "w", Amount: 1})
		}
		w[0].Amount++
		return nil
	})
}

// reads are ways to read accounts, each of which sees a, and none of which sees b.
func (k *kit) reads() map[string]func(ctx context.Context, u *uow.Unit) error {
	q := uow.Query{Where: []uow.Condition{uow.Equal("owner", "nobody"), uow.Less("balance", 1000)}}
	return map[string]func(ctx context.Context, u *uow.Unit) error{
		"Get":   func(ctx context.Context, u *uow.Unit) error { _, err := k.accounts.In(u).Get(ctx, "a"); return err },
		"Find":  func(ctx context.Context, u *uow.Unit) error { _, err := k.accounts.In(u).Find(ctx, q); return err },
		"Count": func(ctx context.Context, u *uow.Unit) error { _, err := k.accounts.In(u).Count(ctx, q); return err },
		"All": func(ctx context.Context, u *uow.Unit) error {
			for _, err := range k.accounts.In(u).All(ctx, q) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"Get of a missing one, and Find": func(ctx context.Context, u *uow.Unit) error {
			_, err := k.accounts.In(u).GetMany(ctx, "b")
			_, err2 := k.accounts.In(u).Find(ctx, q)
			return errors.Join(err, err2)
		},
	}
}

// betweens are what another serializable unit does to what was read, by its name.
// It reads what the first one is about to write.
func (k *kit) betweens() map[string]func() {
	other := func(fn func(ctx context.Context, u *uow.Unit) error) func() {
		return func() {
			k.Helper()
			err := k.db.With(uow.UnitOptions{Serializable: true}).Do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
				if _, err := k.entries.In(u).GetMany(ctx, "w"); err != nil {
					return err
				}
				return fn(ctx, u)
			})
			k.must("the unit in between", err)
		}
	}
	return map[string]func(){
		"changed a": other(func(ctx context.Context, u *uow.Unit) error { return k.change(ctx, u, "a", 1) }),
		"removed a": other(func(ctx context.Context, u *uow.Unit) error {
			a, err := k.accounts.In(u).Get(ctx, "a")
			if err != nil {
				return err
			}
			return k.accounts.In(u).Remove(a)
		}),
		"added b": other(func(_ context.Context, u *uow.Unit) error {
			return k.accounts.In(u).Add(&account{ID: "b", Owner: "nobody", Balance: 100})
		}),
	}
}

func serializableChecksReads(k *kit) {
	for how, read := range k.reads() {
		for what, between := range k.betweens() {
			if how == "Get" && what == "added b" {
				continue // is not what was read
			}
			k.setUp(func(ctx context.Context, u *uow.Unit) error { // begin anew
				r := k.accounts.In(u)
				old, err := r.GetMany(ctx, "a", "b")
				if err != nil {
					return err
				}
				for _, a := range old {
					err = errors.Join(err, r.Remove(a))
				}
				return err
			})
			k.save("a")
			err := k.serializable(read, between)
			if !errors.Is(err, uow.ErrConflict) && !errors.Is(err, uow.ErrRetryable) {
				k.broken("a unit that had read by %s should fail after another %s; got %v", how, what, err)
			}
		}
	}
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		if w, err := k.entries.In(u).GetMany(ctx, "w"); len(w) != 0 || err != nil {
			k.broken("no unit that failed should have written; got %v, %v", w, err)
		}
		return nil
	})
}

func serializableGoesThrough(k *kit) {
	k.save("a", "c")
	for how, read := range k.reads() {
		own := func(ctx context.Context, u *uow.Unit) error {
			return errors.Join(read(ctx, u), k.change(ctx, u, "c", 1), u.Flush(ctx), read(ctx, u))
		}
		for what, fn := range map[string]func(context.Context, *uow.Unit) error{"read": read, "read and flushed": own} {
			if err := k.serializable(fn, func() {}); err != nil {
				k.broken("a unit that %s by %s and met nobody should commit; got %v", what, how, err)
			}
		}
	}
	err := k.db.With(uow.UnitOptions{Serializable: true}).Do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		err := k.reads()["Find"](ctx, u)
		k.meanwhile("a", 1)
		return err
	})
	if err != nil && !errors.Is(err, uow.ErrRetryable) {
		k.broken("a unit that only read one snapshot should commit; got %v", err)
	}
}

func lockedDoNotConflict(k *kit) {
	const goroutines, rounds = 8, 10
	k.save("a")
	var refused atomic.Int64
	increment := func() error {
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			a, err := k.accounts.In(u).GetForUpdate(ctx, "a")
			if err == nil {
				a.Balance++
			}
			runtime.Gosched() // lets others in between
			return err
		})
		if k.h.Lacks.PreciseConflicts && errors.Is(err, uow.ErrConflict) && refused.Add(1) <= goroutines*rounds/10 {
			// It was refused for no fault of its own, gave up its lock, and then the store has
			// looked who may have been in the way: another one by then. That is rare.
			return fmt.Errorf("%w: %w", uow.ErrRetryable, err)
		}
		return err
	}
	var wg sync.WaitGroup
	errs := make(chan error, goroutines)
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				if err := k.granted(increment); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		k.broken("no unit should fail; got %v", err)
	}
	k.wantBalance("a", 100+goroutines*rounds, "after all units that locked")
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		_, err := k.accounts.In(u).GetForUpdate(ctx, "nobody")
		return err
	})
	if !errors.Is(err, uow.ErrNotFound) {
		k.broken("locking an aggregate that does not exist should be ErrNotFound; got %v", err)
	}
}

func locksKeepOthersOut(k *kit) {
	k.save("a", "b")
	ctx, cancel := context.WithCancel(k.Context())
	defer cancel()
	other := make(chan error, 1)
	var locked bool
	err := k.do(k.Context(), func(uctx context.Context, u *uow.Unit) error {
		found, err := k.accounts.In(u).GetManyForUpdate(uctx, "b", "a", "nobody")
		if err != nil {
			return err
		}
		locked = len(found) == 2
		go func() {
			other <- k.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error { return k.change(ctx, u, "a", 1000) })
		}()
		found[1].Balance++
		if err := u.Flush(uctx); err != nil {
			return err
		}
		found[1].Balance++
		return nil
	})
	if err != nil || !locked {
		k.broken("a unit that has locked both should commit; got %v, locked %v", err, locked)
	}
	if err := <-other; err != nil && !errors.Is(err, uow.ErrConflict) && !errors.Is(err, uow.ErrRetryable) {
		k.broken("the other unit should commit afterwards, or conflict; got %v", err)
	} else if err == nil {
		k.wantBalance("a", 1102, "after both")
		return
	}
	k.wantBalance("a", 102, "after the other conflicted")
}

package mysql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/storetest"
)

func asConflict(err error, target *driver.ConflictError) bool {
	var conflict *driver.ConflictError
	if errors.As(err, &conflict) {
		*target = *conflict
	}
	return conflict != nil
}

func TestRow57Of100(t *testing.T) {
	for name, o := range map[string]Options{"ReadCommitted": {}, "RepeatableRead": {Isolation: RepeatableRead}} {
		t.Run(name, func(t *testing.T) {
			f := open(t, "", o)
			ids := storetest.Names("a", 100)
			f.Insert(ids...)
			for _, flushed := range []bool{false, true} {
				err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
					all, err := f.Documents.In(u).GetMany(ctx, ids...)
					f.Must(err)
					if flushed { // the rows that were flushed are as expected
						all[3].Count = 77
						f.Must(u.Flush(ctx))
					}
					for _, d := range all {
						d.Add(1)
					}
					f.Must(f.Change(ids[57]))
					f.Must(f.Change(ids[57]))
					return err
				})
				var got driver.ConflictError
				want := driver.ConflictError{Collection: "documents", ID: ids[57], Expected: 1, Found: 3}
				if flushed {
					want.Expected, want.Found = 3, 5
				}
				if !asConflict(err, &got) || got != want {
					t.Errorf("flushed %v: got %v, want %v", flushed, err, &want)
				}
			}
			if got, _ := f.Drain(0); len(got) != 4 {
				t.Errorf("the log has %d messages, want the other units' 4", len(got))
			}
		})
	}
}

// TestSerializableSkew has two units, each of which reads what the other writes.
func TestSerializableSkew(t *testing.T) {
	f := open(t, "", Options{})
	f.Insert("a", "b")
	begin := func(reads, writes string) *uow.Unit {
		u := f.DB.With(uow.UnitOptions{Serializable: true}).Begin()
		t.Cleanup(func() { u.Close() })
		_, err := f.Documents.In(u).Get(t.Context(), reads)
		f.Must(err)
		d, err := f.Documents.In(u).Get(t.Context(), writes)
		f.Must(err)
		d.Count++
		return u
	}
	one, two := begin("a", "b"), begin("b", "a")
	f.Must(one.Commit(t.Context()))
	if err := two.Commit(t.Context()); !errors.Is(err, driver.ErrConflict) {
		t.Errorf("got %v, want ErrConflict for the second", err)
	}
}

// TestUnitsDoNotDeadlock has units that change, remove, add and check overlapping
// rows in any order: they conflict, and never wait for each other in a circle.
func TestUnitsDoNotDeadlock(t *testing.T) {
	f := open(t, "", Options{})
	ids := storetest.Names("a", 12)
	f.Insert(ids...)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 5))
			for range 40 {
				err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error { return f.stir(ctx, u, random, ids) })
				if err != nil && !errors.Is(err, uow.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// stir does something else to each of a few rows.
func (f *fixture) stir(ctx context.Context, u *uow.Unit, random *rand.Rand, ids []string) error {
	r := f.Documents.In(u)
	var some []string
	for _, i := range random.Perm(len(ids))[:8] {
		some = append(some, ids[i])
	}
	found, err := r.GetMany(ctx, some...)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, d := range found {
		there[d.ID] = true
		switch random.IntN(4) {
		case 0:
			err = r.Remove(d)
		case 1:
			var v int64
			if v, err = r.Version(d); err == nil {
				err = r.Require(d, v)
			}
		default:
			d.Add(1)
		}
		if err != nil {
			return err
		}
	}
	for _, id := range some {
		if !there[id] {
			if err := r.Add(&document{ID: id}); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestVersionsGoOnWhenADeleteIsMet lets an insert wait for the delete of the same
// row: it must see what the delete remembers.
func TestVersionsGoOnWhenADeleteIsMet(t *testing.T) {
	for name, o := range map[string]Options{"ReadCommitted": {}, "RepeatableRead": {Isolation: RepeatableRead}} {
		t.Run(name, func(t *testing.T) {
			f := open(t, "", o)
			f.Insert("a")
			f.Must(f.Change("a"))
			deleting := f.Tx()
			f.Must(deleting.Flush(t.Context(), &driver.ChangeSet{Writes: []driver.Write{
				{Op: driver.Delete, Collection: "documents", ID: "a", Expected: 2, Version: 3, Sequence: 1},
			}}))
			cs := insert("2", "a")
			done := make(chan error, 1)
			go func() {
				tx, err := f.store.Begin(context.Background(), driver.TxOptions{})
				if err == nil {
					err = tx.Commit(context.Background(), cs)
				}
				done <- err
			}()
			f.Until("the insert waits", func() bool { return f.waiting() > 0 })
			f.Must(deleting.Commit(t.Context(), &driver.ChangeSet{Unit: "1"}))
			err := <-done
			if errors.Is(err, driver.ErrRetryable) {
				err = f.Tx().Commit(t.Context(), cs)
			}
			f.Must(err)
			rows, err := f.Tx().Get(t.Context(), "documents", []string{"a"})
			f.Must(err)
			if got := fmt.Sprint(rows[0].Version, rows[0].Sequence, cs.Writes[0].Version); got != "4 1 4" {
				t.Errorf("version, sequence and the change set's version are %s, want 4 1 4", got)
			}
		})
	}
}

// TestLockWaitCostsTheStatement: a nested unit whose lock was waited for too long can
// be undone by itself.
func TestLockWaitCostsTheStatement(t *testing.T) {
	cfg, err := mysql.ParseDSN(newDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Params = map[string]string{"innodb_lock_wait_timeout": "1"}
	f := open(t, cfg.FormatDSN(), Options{})
	f.Insert("a", "b")
	holder := f.Tx()
	update := func(id string) *driver.ChangeSet {
		return &driver.ChangeSet{Unit: id, Writes: []driver.Write{
			{Op: driver.Update, Collection: "documents", ID: id, Expected: 1, Version: 2, Body: []byte(`{}`), Indexes: []driver.Value{nil}},
		}}
	}
	f.Must(holder.Flush(t.Context(), update("a")))
	tx := f.Tx()
	f.Must(tx.Flush(t.Context(), update("b")))
	f.Must(tx.(driver.Nester).Nest(t.Context()))
	if err := tx.Flush(t.Context(), update("a")); !errors.Is(err, driver.ErrRetryable) {
		t.Errorf("got %v, want ErrRetryable", err)
	}
	f.Must(tx.(driver.Nester).Unnest(false))
	f.Must(tx.Commit(t.Context(), &driver.ChangeSet{Unit: "x"}))
	f.Must(holder.Rollback())
	rows, err := f.Tx().Get(t.Context(), "documents", []string{"b"})
	f.Must(err)
	if len(rows) != 1 || rows[0].Version != 2 {
		t.Errorf("got %v, want b in version 2", rows)
	}
}

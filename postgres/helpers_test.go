package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit/grouptest"
	"github.com/uow-go/uow/internal/pause"
	"github.com/uow-go/uow/outbox"
)

type document struct {
	uow.Events
	ID    string
	Count int64
}

type counting struct{ To int64 }

func (d *document) count() {
	d.Count++
	d.Record(counting{To: d.Count})
}

// fixture is a database with one collection.
type fixture struct {
	*testing.T
	db        *uow.DB
	store     *Store
	documents *uow.Collection[document]
}

// open opens a database in a schema of its own, unless options name one.
func open(t *testing.T, dsn string, options Options) *fixture {
	t.Helper()
	if options.Schema == "" {
		options.Schema = newSchema(t)
	}
	f := &fixture{T: t, documents: uow.Define(uow.CollectionConfig[document]{
		Name: "documents",
		Indexes: []uow.Index[document]{
			{Name: "count", Kind: uow.Int, Value: func(d *document) any { return d.Count }},
		},
	})}
	db, err := options.Open(t.Context(), dsn, uow.Config{Collections: []uow.AnyCollection{f.documents}})
	if err != nil {
		t.Fatal(err)
	}
	f.db, f.store = db, db.Store().(*Store)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return f
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// add inserts documents in one unit.
func (f *fixture) add(ids ...string) {
	f.Helper()
	f.must(f.db.Do(f.Context(), func(_ context.Context, u *uow.Unit) error {
		for _, id := range ids {
			if err := f.documents.In(u).Add(&document{ID: id}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// change counts documents up in one unit.
func (f *fixture) change(ids ...string) error {
	return f.db.Do(f.Context(), func(ctx context.Context, u *uow.Unit) error {
		all, err := f.documents.In(u).GetMany(ctx, ids...)
		for _, d := range all {
			d.count()
		}
		return err
	})
}

// tx begins a transaction of the store.
func (f *fixture) tx() driver.Tx {
	f.Helper()
	tx, err := f.store.Begin(f.Context(), driver.TxOptions{})
	f.must(err)
	f.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

// has reports whether there is a row.
func (f *fixture) has(id string) bool {
	f.Helper()
	tx := f.tx()
	defer tx.Rollback()
	rows, err := tx.Get(f.Context(), "documents", []string{id})
	f.must(err)
	return len(rows) == 1
}

func insert(unit, id string, messages ...string) *driver.ChangeSet {
	return grouptest.Insert(unit, id, messages...)
}

func appending(unit string, messages ...string) *driver.ChangeSet {
	return grouptest.Appending(unit, messages...)
}

// drain scans the log up to its end.
func (f *fixture) drain(after int64) (ids []string, next int64) {
	f.Helper()
	for {
		some, next, err := f.store.Scan(f.Context(), outbox.Query{After: after, Limit: 7})
		f.must(err)
		for _, m := range some {
			ids = append(ids, m.ID)
		}
		if next == after {
			return ids, next
		}
		after = next
	}
}

// until repeats fn until it is true, and waits a little in between.
func (f *fixture) until(what string, fn func() bool) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	for !fn() {
		if pause.For(ctx, 2*time.Millisecond) != nil {
			f.Fatalf("%s: it never was", what)
		}
	}
}

func names(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%03d", prefix, i)
	}
	return list
}

// quiet ends what the store does in the background, which would talk in between.
func (f *fixture) quiet() {
	f.store.stop()
	f.store.work.Wait()
}

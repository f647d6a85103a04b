// Package storetest is what tests of stores on servers stand on, and those of their tests
// that are the same for each.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/pause"
	"github.com/uow-go/uow/outbox"
)

// Document counts, and records it.
type Document struct {
	uow.Events
	ID    string
	Count int64
}

// Recounted is recorded by Document.
type Recounted struct{ To int64 }

// Add changes the count.
func (d *Document) Add(n int64) {
	d.Count += n
	d.Record(Recounted{To: d.Count})
}

// Store is what a store under test has.
type Store interface {
	driver.Store
	outbox.Log
}

// Fixture is a database with one collection, "documents", which has an index "count" of
// numbers.
type Fixture struct {
	*testing.T
	DB        *uow.DB
	Store     Store
	Documents *uow.Collection[Document]
}

// New has the store's own function open a database, which is closed with the test.
func New(t *testing.T, open func(uow.Config) (*uow.DB, error)) *Fixture {
	t.Helper()
	return opened(t, open, false)
}

// NewUnique is New; no two documents can have the same count.
func NewUnique(t *testing.T, open func(uow.Config) (*uow.DB, error)) *Fixture {
	t.Helper()
	return opened(t, open, true)
}

func opened(t *testing.T, open func(uow.Config) (*uow.DB, error), unique bool) *Fixture {
	t.Helper()
	f := &Fixture{T: t, Documents: uow.Define(uow.CollectionConfig[Document]{
		Name: "documents",
		Indexes: []uow.Index[Document]{
			{Name: "count", Kind: uow.Int, Unique: unique, Value: func(d *Document) any { return d.Count }},
		},
	})}
	db, err := open(uow.Config{Collections: []uow.AnyCollection{f.Documents}})
	if err != nil {
		t.Fatal(err)
	}
	f.DB, f.Store = db, db.Store().(Store)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return f
}

// Must ends the test if there is an error.
func (f *Fixture) Must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// Insert adds documents in one unit.
func (f *Fixture) Insert(ids ...string) {
	f.Helper()
	f.Must(f.DB.Do(f.Context(), func(_ context.Context, u *uow.Unit) error {
		for _, id := range ids {
			if err := f.Documents.In(u).Add(&Document{ID: id}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Change counts documents up in one unit.
func (f *Fixture) Change(ids ...string) error {
	return f.DB.Do(f.Context(), func(ctx context.Context, u *uow.Unit) error {
		all, err := f.Documents.In(u).GetMany(ctx, ids...)
		for _, d := range all {
			d.Add(1)
		}
		return err
	})
}

// Tx begins a transaction of the store.
func (f *Fixture) Tx() driver.Tx {
	f.Helper()
	tx, err := f.Store.Begin(f.Context(), driver.TxOptions{})
	f.Must(err)
	f.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

// Has reports whether there is a document.
func (f *Fixture) Has(id string) bool {
	f.Helper()
	tx := f.Tx()
	rows, err := tx.Get(f.Context(), "documents", []string{id})
	f.Must(errors.Join(err, tx.Rollback()))
	return len(rows) == 1
}

// Drain scans the log up to its end.
func (f *Fixture) Drain(after int64) (ids []string, next int64) {
	f.Helper()
	for {
		some, next, err := f.Store.Scan(f.Context(), outbox.Query{After: after, Limit: 7})
		f.Must(err)
		for _, m := range some {
			ids = append(ids, m.ID)
		}
		if next == after {
			return ids, next
		}
		after = next
	}
}

// Until repeats fn until it is true, and waits a little in between.
func (f *Fixture) Until(what string, fn func() bool) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	for !fn() {
		if pause.For(ctx, 2*time.Millisecond) != nil {
			f.Fatalf("%s: it never was", what)
		}
	}
}

// Names returns n names.
func Names(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%03d", prefix, i)
	}
	return list
}

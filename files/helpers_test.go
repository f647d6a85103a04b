package files

import (
	"context"
	"testing"

	"github.com/uow-go/uow"
)

// document is an aggregate of the tests.
type document struct {
	ID    string
	Note  string
	Count int
}

func newDocuments() *uow.Collection[document] {
	return uow.Define(uow.CollectionConfig[document]{
		Name: "documents",
		Indexes: []uow.Index[document]{
			{Name: "note", Kind: uow.String, Value: func(d *document) any { return d.Note }},
			{Name: "count", Kind: uow.Int, Value: func(d *document) any { return d.Count }},
		},
	})
}

// opened opens a directory with the documents.
func opened(t testing.TB, o Options, dir string) (*uow.DB, *Store, *uow.Collection[document]) {
	t.Helper()
	docs := newDocuments()
	db, err := o.Open(context.Background(), dir, uow.Config{Collections: []uow.AnyCollection{docs}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, db.Store().(*Store), docs
}

// add commits a document.
func add(ctx context.Context, db *uow.DB, docs *uow.Collection[document], d document) error {
	return db.Do(ctx, func(_ context.Context, u *uow.Unit) error { return docs.In(u).Add(&d) })
}

package uow_test

import (
	"context"
	"slices"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/memory"
)

// orders is a store that remembers in which order rows were written.
type orders struct {
	driver.Store
	commits [][]string
}

type ordersTx struct {
	driver.Tx
	store *orders
}

func (o *orders) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	tx, err := o.Store.Begin(ctx, options)
	return &ordersTx{tx, o}, err
}

func (t *ordersTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	var commit []string
	for _, w := range cs.Writes {
		commit = append(commit, w.Op.String()+" "+w.Collection+"/"+w.ID)
	}
	t.store.commits = append(t.store.commits, commit)
	return t.Tx.Commit(ctx, cs)
}

// P12: units that touch the same rows write them in the same order, however their
// code came to them.
func TestP12_WritesAreInOneOrder(t *testing.T) {
	first, second := uow.NewCollection[note]("first"), uow.NewCollection[note]("second")
	cfg := uow.Config{Collections: []uow.AnyCollection{first, second}}
	inner, err := memory.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	store := &orders{Store: inner.Store()}
	db, err := uow.Open(t.Context(), store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	unit := func(fn func(ctx context.Context, u *uow.Unit) error) {
		t.Helper()
		if err := db.Do(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	ids := []string{"d", "b", "a", "c"}
	unit(func(_ context.Context, u *uow.Unit) error {
		for _, id := range ids {
			if err := second.In(u).Add(&note{ID: id}); err != nil {
				return err
			}
			if err := first.In(u).Add(&note{ID: id}); err != nil {
				return err
			}
		}
		return nil
	})
	for round := range 2 {
		if round == 1 {
			slices.Reverse(ids)
		}
		unit(func(ctx context.Context, u *uow.Unit) error {
			for _, c := range []*uow.Collection[note]{second, first} {
				for _, id := range ids {
					n, err := c.In(u).Get(ctx, id)
					if err != nil {
						return err
					}
					n.Text += "x"
				}
			}
			return nil
		})
	}
	want := []string{"first/a", "first/b", "first/c", "first/d", "second/a", "second/b", "second/c", "second/d"}
	for i, commit := range store.commits {
		op := "update "
		if i == 0 {
			op = "insert "
		}
		for j, w := range want {
			if j >= len(commit) || commit[j] != op+w {
				t.Fatalf("commit %d writes %v, want %v", i, commit, want)
			}
		}
	}
	if len(store.commits) != 3 {
		t.Errorf("%d commits, want 3", len(store.commits))
	}
}

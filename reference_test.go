package uow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
)

// page refers to other aggregates.
type page struct {
	ID     string
	Parent string
	Author string
	Text   string
}

func parents(p *page) []string { return []string{p.Parent} }

func authors(p *page) []string { return []string{p.Author} }

func referring(name string, refs ...uow.Reference[page]) *uow.Collection[page] {
	return uow.Define(uow.CollectionConfig[page]{Name: name, References: refs})
}

// shelf is a database that shows the order of its writes.
type shelf struct {
	*testing.T
	db    *uow.DB
	store *orders
}

func newShelf(t *testing.T, collections ...uow.AnyCollection) *shelf {
	t.Helper()
	cfg := uow.Config{Collections: collections}
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
	return &shelf{T: t, db: db, store: store}
}

// writes runs a unit and returns what it wrote, in order.
func (s *shelf) writes(fn func(ctx context.Context, u *uow.Unit) error) (string, error) {
	s.Helper()
	s.store.commits = nil
	err := s.db.Do(s.Context(), fn)
	return strings.Join(slices.Concat(s.store.commits...), ", "), err
}

func (s *shelf) want(want string, fn func(ctx context.Context, u *uow.Unit) error) {
	s.Helper()
	if got, err := s.writes(fn); got != want || err != nil {
		s.Errorf("wrote %q, %v\nwant  %q", got, err, want)
	}
}

func addPages(c *uow.Collection[page], u *uow.Unit, pages ...page) error {
	for _, p := range pages {
		if err := c.In(u).Add(&p); err != nil {
			return err
		}
	}
	return nil
}

func removePages(ctx context.Context, c *uow.Collection[page], u *uow.Unit, ids ...string) error {
	all, err := c.In(u).GetMany(ctx, ids...)
	for _, p := range all {
		err = errors.Join(err, c.In(u).Remove(p))
	}
	return err
}

// P12: what is referred to is written before what refers to it, and deleted after it,
// whatever the order of the Config and of the user's code.
func TestP12_ReferencesBetweenCollections(t *testing.T) {
	lines := referring("lines", uow.Reference[page]{To: "orders", IDs: parents})
	customers := referring("customers")
	sales := referring("orders", uow.Reference[page]{To: "customers", IDs: authors})
	notes := referring("notes")
	s := newShelf(t, lines, notes, sales, customers)
	s.want("insert customers/c, insert orders/o, insert lines/l, insert notes/n", func(_ context.Context, u *uow.Unit) error {
		return errors.Join(addPages(lines, u, page{ID: "l", Parent: "o"}), addPages(notes, u, page{ID: "n"}),
			addPages(sales, u, page{ID: "o", Author: "c"}), addPages(customers, u, page{ID: "c"}))
	})
	s.want("insert customers/d, update orders/o, delete notes/n, delete lines/l, delete customers/c", func(ctx context.Context, u *uow.Unit) error {
		o, err := sales.In(u).Get(ctx, "o")
		if err == nil {
			o.Author = "d"
		}
		return errors.Join(err, removePages(ctx, customers, u, "c"), removePages(ctx, notes, u, "n"),
			removePages(ctx, lines, u, "l"), addPages(customers, u, page{ID: "d"}))
	})
}

// P12: within a collection that refers to itself single rows are ordered.
func TestP12_SelfReferences(t *testing.T) {
	tree := referring("tree", uow.Reference[page]{To: "tree", IDs: parents})
	s := newShelf(t, tree)
	s.want("insert tree/z, insert tree/b, insert tree/a, insert tree/y", func(_ context.Context, u *uow.Unit) error {
		return addPages(tree, u, page{ID: "a", Parent: "b"}, page{ID: "b", Parent: "z"}, page{ID: "y", Parent: "y"}, page{ID: "z"})
	})
	s.want("insert tree/m, update tree/z, delete tree/y, delete tree/a, delete tree/b", func(ctx context.Context, u *uow.Unit) error {
		z, err := tree.In(u).Get(ctx, "z")
		if err == nil {
			z.Parent = "m"
		}
		return errors.Join(err, removePages(ctx, tree, u, "b", "a", "y"), addPages(tree, u, page{ID: "m"}))
	})
}

// P12: a circle of collections is no problem as long as rows do not refer to each
// other in one; where they do the error prints it, and a Flush resolves it.
func TestP12_CyclesAreRefusedAndPrinted(t *testing.T) {
	users := referring("users", uow.Reference[page]{To: "teams", IDs: parents})
	teams := referring("teams", uow.Reference[page]{To: "users", IDs: authors})
	s := newShelf(t, users, teams)
	s.want("insert teams/t, insert users/u", func(_ context.Context, u *uow.Unit) error {
		return errors.Join(addPages(users, u, page{ID: "u", Parent: "t"}), addPages(teams, u, page{ID: "t"}))
	})
	_, err := s.writes(func(_ context.Context, u *uow.Unit) error {
		return errors.Join(addPages(users, u, page{ID: "v", Parent: "w"}), addPages(teams, u, page{ID: "w", Author: "v"}))
	})
	wantError(t, err, uow.ErrCycle, "users/v → teams/w → users/v")
	s.want("insert users/v, update teams/w", func(ctx context.Context, u *uow.Unit) error {
		w := &page{ID: "w"}
		err := errors.Join(teams.In(u).Add(w), u.Flush(ctx))
		w.Author = "v"
		return errors.Join(err, addPages(users, u, page{ID: "v", Parent: "w"}))
	})
	_, err = s.writes(func(ctx context.Context, u *uow.Unit) error {
		return errors.Join(removePages(ctx, users, u, "v"), removePages(ctx, teams, u, "w"))
	})
	wantError(t, err, uow.ErrCycle, "teams/w → users/v")
}

func TestReferencesToNobody(t *testing.T) {
	_, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{
		referring("lines", uow.Reference[page]{To: "orders", IDs: parents})}})
	wantError(t, err, uow.ErrConfig, `"orders"`)
}

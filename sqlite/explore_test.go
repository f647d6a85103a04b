package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/uowtest"
)

type stock struct {
	ID string
	N  int
}

// order takes from the stock, and stores a row, by the user's own SQL, and a message.
func order(ctx context.Context, db *uow.DB, stocks *uow.Collection[stock]) error {
	return db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		s, err := stocks.In(u).Get(ctx, "shoes")
		if err != nil {
			return err
		}
		s.N--
		if err := u.Flush(ctx); err != nil {
			return err
		}
		if _, err := Tx(u).ExecContext(ctx, `INSERT INTO orders VALUES ('shoes')`); err != nil {
			return err
		}
		return outbox.Append(u, outbox.Message{Type: "Ordered", Key: "shoes"})
	})
}

// A failure at every step of an operation on a file, which is opened again after a
// crash. Nothing is left of what was not committed, no connection either.
func TestExplore(t *testing.T) {
	uowtest.Explore(t, exploration())
}

// The same, with a mistake that the user's own SQL can make.
func TestExploreFindsSQLBesideTheUnit(t *testing.T) {
	e := exploration()
	e.Failures = 1
	stocks := e.Config.Collections[0].(*uow.Collection[stock])
	e.Operation = func(ctx context.Context, x *uowtest.Run) error {
		return x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			err := x.DB.Do(ctx, func(ctx context.Context, other *uow.Unit) error {
				_, err := Tx(other).ExecContext(ctx, `INSERT INTO orders VALUES ('shoes')`)
				return err
			})
			if err != nil {
				return err
			}
			s, err := stocks.In(u).Get(ctx, "shoes")
			if err != nil {
				return err
			}
			s.N--
			return nil
		})
	}
	findings := e.Findings(t)
	i := slices.IndexFunc(findings, func(f uowtest.Finding) bool { return f.Run == "step_05_get/before" })
	if i < 0 || findings[i].Culprit.Name != "Commit" || findings[i].Culprit.N != 3 {
		t.Errorf("the commit of the other unit is not found: %v", findings)
	}
}

func exploration() uowtest.Exploration {
	stocks := uow.NewCollection[stock]("stocks")
	var path string
	var store *Store
	open := func(t testing.TB, cfg uow.Config) *uow.DB {
		db, err := Options{Synchronous: Normal}.Open(t.Context(), path, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		store = db.Store().(*Store)
		return db
	}
	return uowtest.Exploration{
		Open: func(t testing.TB, cfg uow.Config) *uow.DB {
			path = filepath.Join(t.TempDir(), "explored.db")
			db := open(t, cfg)
			script(t, store, `CREATE TABLE orders (what TEXT)`)
			return db
		},
		Reopen: open,
		InUse:  func() int { return inUse(store) },
		Config: uow.Config{Collections: []uow.AnyCollection{stocks}},
		Setup: func(ctx context.Context, x *uowtest.Run) error {
			return x.DB.Do(ctx, func(_ context.Context, u *uow.Unit) error {
				return stocks.In(u).Add(&stock{ID: "shoes", N: 10})
			})
		},
		Operation: func(ctx context.Context, x *uowtest.Run) error { return order(ctx, x.DB, stocks) },
		Meanwhile: func(ctx context.Context, x *uowtest.Run) error {
			return x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
				s, err := stocks.In(u).Get(ctx, "shoes")
				if err == nil {
					s.N += 100
				}
				return err
			})
		},
		Snapshot: func(ctx context.Context, x *uowtest.Run) (any, error) {
			var found struct {
				Stock, Orders int
				Messages      int64
			}
			err := x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
				s, err := stocks.In(u).Get(ctx, "shoes")
				if err != nil {
					return err
				}
				found.Stock = s.N
				return Tx(u).QueryRowContext(ctx, `SELECT count(*) FROM orders`).Scan(&found.Orders)
			})
			log, ofErr := outbox.Of(x.DB)
			if err := errors.Join(err, ofErr); err != nil {
				return nil, err
			}
			stats, err := log.Stats(ctx)
			found.Messages = stats.Messages
			return found, err
		},
	}
}

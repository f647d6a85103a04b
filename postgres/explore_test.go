package postgres

import (
	"context"
	"errors"
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
func order(ctx context.Context, db *uow.DB, stocks *uow.Collection[stock], table string) error {
	return db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		s, err := stocks.In(u).Get(ctx, "shoes")
		if err != nil {
			return err
		}
		s.N--
		if err := u.Flush(ctx); err != nil {
			return err
		}
		if _, err := Tx(u).Exec(ctx, `INSERT INTO `+table+` VALUES ('shoes')`); err != nil {
			return err
		}
		return outbox.Append(u, outbox.Message{Type: "Ordered", Key: "shoes"})
	})
}

// A failure at every step of an operation on a real server, whose commits can be in
// doubt, and which is connected to again after a crash. Nothing is left of what was
// not committed, no connection either.
func TestExplore(t *testing.T) {
	needServer(t)
	uowtest.Explore(t, exploration())
}

func exploration() uowtest.Exploration {
	stocks := uow.NewCollection[stock]("stocks")
	var schema string
	var store *Store
	table := func() string { return store.schema + ".orders" }
	open := func(t testing.TB, cfg uow.Config) *uow.DB {
		db, err := Options{Schema: schema}.Open(t.Context(), needServer(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		store = db.Store().(*Store)
		return db
	}
	return uowtest.Exploration{
		Open: func(t testing.TB, cfg uow.Config) *uow.DB {
			schema = newSchema(t)
			db := open(t, cfg)
			script(t, store, `CREATE TABLE `+table()+` (what text)`)
			return db
		},
		Reopen:   open,
		InUse:    func() int { return int(store.pool.Stat().AcquiredConns()) },
		Failures: 1, // a schema takes a while to make
		Config:   uow.Config{Collections: []uow.AnyCollection{stocks}},
		Setup: func(ctx context.Context, x *uowtest.Run) error {
			return x.DB.Do(ctx, func(_ context.Context, u *uow.Unit) error {
				return stocks.In(u).Add(&stock{ID: "shoes", N: 10})
			})
		},
		Operation: func(ctx context.Context, x *uowtest.Run) error { return order(ctx, x.DB, stocks, table()) },
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
				return Tx(u).QueryRow(ctx, `SELECT count(*) FROM `+table()).Scan(&found.Orders)
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

package chaos_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/integration/internal/stores"
)

// TestCheckerFindsBrokenStores shows that TestStrictSerializability can fail: each of
// these stores breaks one rule, and is found out.
func TestCheckerFindsBrokenStores(t *testing.T) {
	for name, wrap := range map[string]func(s driver.Store) driver.Store{
		"versions are not checked":          func(s driver.Store) driver.Store { return &unchecked{s} },
		"reads are of no snapshot":          func(s driver.Store) driver.Store { return &torn{s} },
		"reads are of an old snapshot":      func(s driver.Store) driver.Store { return &stale{Store: s} },
		"what was only read is not checked": func(s driver.Store) driver.Store { return &careless{s} },
	} {
		t.Run(name, func(t *testing.T) {
			random := chance(t)
			c := newCollectionOfAccounts()
			inner := stores.All(&local)[0].Open(t, stores.Options{Config: bankConfig(c)})
			db, err := uow.Open(t.Context(), wrap(inner.DB.Store()), bankConfig(c))
			if err != nil {
				t.Fatal(err)
			}
			b := &bank{db: db, accounts: c}
			for n := 1; n <= 200; n++ {
				h, err := b.history(t.Context(), random, 8, 25)
				if err != nil {
					t.Fatal(err)
				}
				if porcupine.CheckOperationsTimeout(bankModel(), h, time.Minute) == porcupine.Illegal {
					t.Logf("found out by history %d", n)
					return
				}
			}
			t.Error("the checker has not found out")
		})
	}
}

// unchecked makes writes expect whatever version there is.
type unchecked struct{ driver.Store }

func (s *unchecked) Register(context.Context, []driver.Collection) error { return nil }

func (s *unchecked) Begin(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx, o)
	return &uncheckedTx{Tx: tx, store: s}, err
}

type uncheckedTx struct {
	driver.Tx
	store   *unchecked
	flushed []*driver.ChangeSet
}

// Flush leaves the changes to the commit.
func (t *uncheckedTx) Flush(_ context.Context, cs *driver.ChangeSet) error {
	t.flushed = append(t.flushed, cs)
	return nil
}

func (t *uncheckedTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	if err := t.Rollback(); err != nil {
		return err
	}
	tx, err := t.store.Store.Begin(ctx, driver.TxOptions{})
	if err != nil {
		return err
	}
	for _, flushed := range t.flushed {
		if err := expectAny(ctx, tx, flushed); err != nil {
			return err
		}
		if err := tx.Flush(ctx, flushed); err != nil {
			return err
		}
	}
	if err := expectAny(ctx, tx, cs); err != nil {
		return err
	}
	return tx.Commit(ctx, cs)
}

// expectAny makes writes expect the versions that there are.
func expectAny(ctx context.Context, tx driver.Tx, cs *driver.ChangeSet) error {
	for i := range cs.Writes {
		w := &cs.Writes[i]
		rows, err := tx.Get(ctx, w.Collection, []string{w.ID})
		if err != nil {
			return err
		}
		if len(rows) == 1 && w.Op != driver.Insert {
			w.Expected, w.Version = rows[0].Version, rows[0].Version+1
		}
	}
	return nil
}

// torn makes each read see the newest.
type torn struct{ driver.Store }

func (s *torn) Register(context.Context, []driver.Collection) error { return nil }

func (s *torn) Begin(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx, o)
	return &tornTx{tx, s}, err
}

type tornTx struct {
	driver.Tx
	store *torn
}

func (t *tornTx) Get(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	tx, err := t.store.Store.Begin(ctx, driver.TxOptions{})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	return tx.Get(ctx, collection, ids)
}

// stale gives each unit the snapshot that was taken when the unit before it began.
type stale struct {
	driver.Store
	mu  sync.Mutex
	old driver.Tx
}

func (s *stale) Register(context.Context, []driver.Collection) error { return nil }

func (s *stale) Begin(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx, o)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Get(ctx, "accounts", []string{accountID(0)}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tx, s.old = s.old, tx
	if tx == nil {
		return nil, fmt.Errorf("%w: there is no old one yet", driver.ErrRetryable)
	}
	return tx, nil
}

// careless forgets what a unit demands of rows that it does not write.
type careless struct{ driver.Store }

func (s *careless) Register(context.Context, []driver.Collection) error { return nil }

func (s *careless) Begin(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx, driver.TxOptions{ReadOnly: o.ReadOnly})
	return &carelessTx{tx}, err
}

type carelessTx struct{ driver.Tx }

func (t *carelessTx) Flush(ctx context.Context, cs *driver.ChangeSet) error {
	return t.Tx.Flush(ctx, without(cs))
}

func (t *carelessTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	return t.Tx.Commit(ctx, without(cs))
}

func without(cs *driver.ChangeSet) *driver.ChangeSet {
	cs.Checks, cs.Ranges = nil, nil
	return cs
}

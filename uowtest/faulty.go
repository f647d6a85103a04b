package uowtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

// faulty is a sound store between which and package uow errors happen.
type faulty struct {
	driver.Store
	// fail is asked before each method of a transaction, and before Begin; an error
	// takes the method's place. Optional.
	fail func(method string) error
	// commit takes the place of Commit. Optional.
	commit func(ctx context.Context, tx driver.Tx, cs *driver.ChangeSet) error
	// resolve takes the place of the store's own. Optional.
	resolve func(ctx context.Context, unit string) (bool, error)
}

// through opens the check's database once more, through a faulty store. It is not
// to be closed, since the store beneath is the check's.
func (k *kit) through(f *faulty, change func(cfg *uow.Config)) *uow.DB {
	k.Helper()
	f.Store = k.db.Store()
	cfg := k.config()
	if change != nil {
		change(&cfg)
	}
	db, err := uow.Open(k.Context(), f, cfg)
	k.must("opening the database once more", err)
	return db
}

// doWith runs the unit that a check is about, in a database of its own.
func (k *kit) doWith(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
	if k.h.do != nil {
		return k.h.do(ctx, db, fn)
	}
	return db.Do(ctx, fn)
}

func (s *faulty) failure(method string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(method)
}

// Register does nothing: the store beneath has the collections.
func (s *faulty) Register(context.Context, []driver.Collection) error { return nil }

// Begin implements driver.Store.
func (s *faulty) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if err := s.failure("Begin"); err != nil {
		return nil, err
	}
	tx, err := s.Store.Begin(ctx, options)
	if err != nil {
		return nil, err
	}
	return &faultyTx{Tx: tx, store: s}, nil
}

// Resolve implements driver.Resolver.
func (s *faulty) Resolve(ctx context.Context, unit string) (bool, error) {
	if s.resolve != nil {
		return s.resolve(ctx, unit)
	}
	if resolver, ok := s.Store.(driver.Resolver); ok {
		return resolver.Resolve(ctx, unit)
	}
	return false, fmt.Errorf("uowtest: commits of %T are never in doubt", s.Store)
}

type faultyTx struct {
	driver.Tx
	store *faulty
}

func (t *faultyTx) Get(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	if err := t.store.failure("Get"); err != nil {
		return nil, err
	}
	return t.Tx.Get(ctx, collection, ids)
}

func (t *faultyTx) Find(ctx context.Context, collection string, q driver.Query) ([]driver.Row, error) {
	if err := t.store.failure("Find"); err != nil {
		return nil, err
	}
	return t.Tx.Find(ctx, collection, q)
}

func (t *faultyTx) Flush(ctx context.Context, cs *driver.ChangeSet) error {
	if err := t.store.failure("Flush"); err != nil {
		return err
	}
	return t.Tx.Flush(ctx, cs)
}

func (t *faultyTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	if err := t.store.failure("Commit"); err != nil {
		return errors.Join(err, t.Tx.Rollback())
	}
	if t.store.commit != nil {
		return t.store.commit(ctx, t.Tx, cs)
	}
	return t.Tx.Commit(ctx, cs)
}

// Nest implements driver.Nester.
func (t *faultyTx) Nest(ctx context.Context) error {
	if err := t.store.failure("Nest"); err != nil {
		return err
	}
	return t.Tx.(driver.Nester).Nest(ctx)
}

// Unnest implements driver.Nester.
func (t *faultyTx) Unnest(keep bool) error {
	if err := t.store.failure("Unnest"); err != nil {
		return err
	}
	return t.Tx.(driver.Nester).Unnest(keep)
}

package uowtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// FaultyStore returns a store between which and its user faults happen. It has the
// abilities that the store beneath has (driver.Resolver, outbox.Log, and those of
// its transactions), and no others, unless Faults.Doubt asks for one. The package
// of the store beneath finds its own transaction in it, so that native SQL works.
func FaultyStore(store driver.Store, f Faults) driver.Store {
	return newFaultyStore(store, f).able()
}

// FaultyDB opens the database of db once more, with faults in between. The two
// share the store, which belongs to db: closing the new one does nothing.
func FaultyDB(ctx context.Context, db *uow.DB, cfg uow.Config, f Faults) (*uow.DB, error) {
	s := newFaultyStore(db.Store(), f)
	s.borrowed = true
	return uow.Open(ctx, s.able(), cfg)
}

// faultyStore is a driver.Store. What else it can do is added by able.
type faultyStore struct {
	store    driver.Store
	faults   Faults
	borrowed bool // it is neither to be registered nor to be closed

	mu    sync.Mutex
	open  map[*faultyTx]struct{}
	units map[string]bool // whether they were committed, of those that are known
}

func newFaultyStore(store driver.Store, f Faults) *faultyStore {
	return &faultyStore{store: store, faults: f, open: map[*faultyTx]struct{}{}, units: map[string]bool{}}
}

type (
	resolvingStore struct {
		*faultyStore
		faultyResolver
	}
	loggingStore struct {
		*faultyStore
		faultyLog
	}
	resolvingLoggingStore struct {
		*faultyStore
		faultyResolver
		faultyLog
	}
)

// able returns the store with the abilities of the one beneath.
func (s *faultyStore) able() driver.Store {
	log, logs := s.store.(outbox.Log)
	resolver, l := faultyResolver{s}, faultyLog{log, s.faults}
	switch resolves := s.resolves(); {
	case resolves && logs:
		return &resolvingLoggingStore{s, resolver, l}
	case resolves:
		return &resolvingStore{s, resolver}
	case logs:
		return &loggingStore{s, l}
	}
	return s
}

// resolves reports whether commits may be in doubt.
func (s *faultyStore) resolves() bool {
	_, ok := s.store.(driver.Resolver)
	return ok || s.faults.Doubt
}

// Register implements driver.Store.
func (s *faultyStore) Register(ctx context.Context, collections []driver.Collection) error {
	if s.borrowed {
		return nil
	}
	return s.store.Register(ctx, collections)
}

// Close implements driver.Store.
func (s *faultyStore) Close() error {
	if s.borrowed {
		return nil
	}
	return s.store.Close()
}

// Unwrap returns the store beneath.
func (s *faultyStore) Unwrap() driver.Store { return s.store }

// Begin implements driver.Store.
func (s *faultyStore) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	var tx driver.Tx
	returned := false
	defer func() {
		if !returned && tx != nil { // Around has panicked, and nobody else knows of it
			_ = tx.Rollback()
		}
	}()
	err := s.faults.around(ctx, Call{Method: "Begin"}, func() (err error) {
		tx, err = s.store.Begin(ctx, options)
		return err
	})
	returned = true
	switch {
	case err != nil && tx != nil:
		return nil, errors.Join(err, tx.Rollback())
	case err != nil:
		return nil, err
	}
	t := &faultyTx{tx: tx, store: s}
	s.mu.Lock()
	s.open[t] = struct{}{}
	s.mu.Unlock()
	return t.able(), nil
}

// transactions returns those that are open.
func (s *faultyStore) transactions() []*faultyTx {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := make([]*faultyTx, 0, len(s.open))
	for t := range s.open {
		open = append(open, t)
	}
	return open
}

func (s *faultyStore) ended(t *faultyTx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, t)
}

// faultyResolver is a driver.Resolver.
type faultyResolver struct{ store *faultyStore }

// Resolve implements driver.Resolver.
func (r faultyResolver) Resolve(ctx context.Context, unit string) (committed bool, err error) {
	err = r.store.faults.around(ctx, Call{Method: "Resolve", Unit: unit}, func() (err error) {
		if resolver, ok := r.store.store.(driver.Resolver); ok {
			committed, err = resolver.Resolve(ctx, unit)
			return err
		}
		committed = r.store.fence(unit)
		return nil
	})
	return committed && err == nil, err
}

// fence reports whether a unit was committed, and sees to it that it never will be
// when it was not.
func (s *faultyStore) fence(unit string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	committed := s.units[unit]
	s.units[unit] = committed
	return committed
}

// fenced returns the error of a commit of a unit that was resolved already.
func (s *faultyStore) fenced(unit string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if committed, known := s.units[unit]; known && !committed {
		return fmt.Errorf("uowtest: unit %s was said not to be committed", unit)
	}
	return nil
}

func (s *faultyStore) committed(unit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.units[unit] = true
}

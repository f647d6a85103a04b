package uowtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
)

// fault is one way to break a store: what is set takes the place of the method.
type fault struct {
	begin    func(s *brokenStore, ctx context.Context) (driver.Tx, error)
	get      func(t *brokenTx, ctx context.Context, collection string, ids []string) ([]driver.Row, error)
	find     func(t *brokenTx, ctx context.Context, collection string, q driver.Query) ([]driver.Row, error)
	count    func(t *brokenTx, ctx context.Context, collection string, q driver.Query) (int64, error)
	lock     func(t *brokenTx, ctx context.Context, collection string, ids []string) ([]driver.Row, error)
	flush    func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error
	commit   func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error
	rollback func(t *brokenTx) error
	close    func(s *brokenStore) error
	nest     func(t *brokenTx, ctx context.Context) error
	unnest   func(t *brokenTx, keep bool) error
	resolve  func(s *brokenStore, ctx context.Context, unit string) (bool, error)

	scan    func(s *brokenStore, ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error)
	acquire func(s *brokenStore, ctx context.Context, claim outbox.Claim) (outbox.Lease, error)
	promote func(s *brokenStore, ctx context.Context, limit int) (outbox.Promotion, error)
	release func(s *brokenStore, ctx context.Context, lease outbox.Lease) error
	join    func(s *brokenStore, ctx context.Context, cursor, member string, ttl time.Duration) ([]string, error)
	resplit func(s *brokenStore, ctx context.Context, leases []outbox.Lease, partitions int) error
	settle  func(s *brokenStore, ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error
	held    func(s *brokenStore, ctx context.Context, cursor string, filter outbox.HeldFilter) ([]outbox.Held, error)
	redrive func(s *brokenStore, ctx context.Context, cursor string, positions []int64) (int, error)
	discard func(s *brokenStore, ctx context.Context, cursor string, positions []int64) (int, error)
	park    func(s *brokenStore, ctx context.Context, cursor string, positions []int64, reason string) (int, error)
	replay  func(s *brokenStore, ctx context.Context, cursor string, positions []int64) (int, error)
	trim    func(s *brokenStore, ctx context.Context, before time.Time, limit int) (int, error)
	stats   func(s *brokenStore, ctx context.Context) (outbox.Stats, error)

	// do and harness break what is around the store.
	do      func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error
	nested  func(ctx context.Context, u *uow.Unit, fn func(ctx context.Context, u *uow.Unit) error) error
	harness func(h *Harness)
}

// brokenStore is a memory store with a fault. With none it is sound, and more
// able than memory: it can be opened again, and has "native" writes.
type brokenStore struct {
	driver.Store
	outbox.Log
	fault *fault

	open    atomic.Int64 // transactions
	commits atomic.Int64 // as far as faults count them
	closed  atomic.Bool

	mu     sync.Mutex // guards the state of faults
	epochs map[string]int64
	used   map[any]string
	late   []driver.Message
	seen   map[int64]bool
	shift  int64
	units  map[string]bool // whether they were committed, of those that are known
}

type brokenTx struct {
	driver.Tx
	store   *brokenStore
	began   int64 // what commits was
	ended   bool
	flushed []*driver.ChangeSet
	read    map[string][]driver.Row
	parts   []part // nested ones that are open
	failed  error
}

// part is what faults remember of a nested part.
type part struct {
	ctx      context.Context
	ignored  bool
	messages []driver.Message
}

var errClosed = errors.New("uowtest: closed")

// Register does nothing: the memory store has been opened with the collections.
func (s *brokenStore) Register(context.Context, []driver.Collection) error { return nil }

func (s *brokenStore) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	if s.fault.begin != nil {
		return s.fault.begin(s, ctx)
	}
	return s.begin(ctx, options)
}

func (s *brokenStore) begin(ctx context.Context, options driver.TxOptions) (*brokenTx, error) {
	commits := s.commits.Load()
	tx, err := s.Store.Begin(ctx, options)
	s.open.Add(1)
	return &brokenTx{Tx: tx, store: s, began: commits, read: map[string][]driver.Row{}}, err
}

func (s *brokenStore) Close() error {
	if s.fault.close != nil {
		return s.fault.close(s)
	}
	s.closed.Store(true)
	return nil
}

func (t *brokenTx) Get(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	if t.store.closed.Load() {
		return nil, errClosed
	}
	if t.store.fault.get != nil {
		return t.store.fault.get(t, ctx, collection, ids)
	}
	return t.Tx.Get(ctx, collection, ids)
}

func (t *brokenTx) Find(ctx context.Context, collection string, q driver.Query) ([]driver.Row, error) {
	if t.store.fault.find != nil {
		return t.store.fault.find(t, ctx, collection, q)
	}
	return t.Tx.Find(ctx, collection, q)
}

func (t *brokenTx) Count(ctx context.Context, collection string, q driver.Query) (int64, error) {
	if t.store.fault.count != nil {
		return t.store.fault.count(t, ctx, collection, q)
	}
	return t.Tx.Count(ctx, collection, q)
}

func (t *brokenTx) GetForUpdate(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	if t.store.fault.lock != nil {
		return t.store.fault.lock(t, ctx, collection, ids)
	}
	return t.Tx.(driver.Locker).GetForUpdate(ctx, collection, ids)
}

func (t *brokenTx) Flush(ctx context.Context, cs *driver.ChangeSet) error {
	if t.store.fault.flush != nil {
		return t.store.fault.flush(t, ctx, cs)
	}
	return t.Tx.Flush(ctx, cs)
}

func (t *brokenTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	if t.store.closed.Load() {
		return errClosed
	}
	defer t.end()
	if t.store.fault.commit != nil {
		return t.store.fault.commit(t, ctx, cs)
	}
	return t.commit(ctx, cs)
}

func (t *brokenTx) Rollback() error {
	if t.store.fault.rollback != nil {
		return t.store.fault.rollback(t)
	}
	t.end()
	return t.Tx.Rollback()
}

func (t *brokenTx) end() {
	if !t.ended {
		t.ended = true
		t.store.open.Add(-1)
	}
}

// again runs fn in a new transaction of the sound store and commits cs in it.
func (s *brokenStore) again(cs *driver.ChangeSet) error {
	tx, err := s.Store.Begin(context.Background(), driver.TxOptions{})
	if err != nil {
		return err
	}
	return tx.Commit(context.Background(), cs)
}

// newHarness opens memory stores with the fault.
func newHarness(f fault) Harness {
	var store *brokenStore
	natives := uow.NewCollection[entry]("natives")
	h := Harness{do: f.do, nested: f.nested}
	h.Open = func(t testing.TB, cfg uow.Config) *uow.DB {
		cfg.Collections = append(cfg.Collections, natives)
		db, err := memory.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		store = &brokenStore{Store: db.Store(), Log: db.Store().(outbox.Log), fault: &f}
		store.epochs, store.used, store.seen = map[string]int64{}, map[any]string{}, map[int64]bool{}
		store.units = map[string]bool{}
		return openBroken(t, store, cfg)
	}
	h.Reopen = func(t testing.TB, cfg uow.Config) *uow.DB {
		cfg.Collections = append(cfg.Collections, natives)
		store.closed.Store(false)
		return openBroken(t, store, cfg)
	}
	h.InUse = func() int { return int(store.open.Load()) }
	h.Native = &Native{Insert: insertNative, Count: countNative}
	if f.harness != nil {
		f.harness(&h)
	}
	return h
}

func openBroken(t testing.TB, store *brokenStore, cfg uow.Config) *uow.DB {
	db, err := uow.Open(t.Context(), store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// The native writes are those of the seam, into a collection of their own.
func insertNative(ctx context.Context, u *uow.Unit, name string) error {
	return u.Use(ctx, func(tx driver.Tx) error {
		return tx.Flush(ctx, &driver.ChangeSet{Writes: []driver.Write{
			{Op: driver.Insert, Collection: "natives", ID: name, Version: 1},
		}})
	})
}

func countNative(ctx context.Context, u *uow.Unit, name string) (n int, err error) {
	err = u.Use(ctx, func(tx driver.Tx) error {
		rows, err := tx.Get(ctx, "natives", []string{name})
		n = len(rows)
		return err
	})
	return n, err
}

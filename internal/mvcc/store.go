package mvcc

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// Options are what stores that share the engine differ in.
type Options struct {
	// Name is what errors begin with.
	Name string
	// Closed is what everything returns after the store was closed.
	Closed error
	// Journal makes changes durable; nil for a store that forgets.
	Journal Journal
}

// Store is a driver.Store and an outbox.Log.
type Store struct {
	options Options
	group   group

	mu     sync.RWMutex
	closed bool
	tables map[string]*table
	// commits numbers the commits. Those after visible are not durable yet: no
	// snapshot sees them, and they are taken back when they can't be made so.
	commits int64
	// visible is the newest commit that snapshots see; a snapshot is such a number.
	visible int64
	// position is that of the newest message, durable or not.
	position int64
	// delays is the greatest number of a delayed message, durable or not.
	delays  int64
	pins    pins
	garbage []garbage
	log     Log

	gate gate

	subscribers outbox.Subscribers
}

var (
	_ driver.Store = (*Store)(nil)
	_ outbox.Log   = (*Store)(nil)
)

// New returns an empty store.
func New(options Options) *Store {
	return &Store{options: options, tables: map[string]*table{}, log: Log{ID: outbox.NewLogID(), Cursors: map[string]*Cursor{}}}
}

// errorf returns an error that begins with the store's name.
func (s *Store) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", s.options.Name, fmt.Errorf(format, args...))
}

// InUse counts the snapshots that transactions have.
func (s *Store) InUse() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.pins.list)
}

// Register implements driver.Store.
func (s *Store) Register(ctx context.Context, collections []driver.Collection) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.options.Closed
	}
	tables := make(map[string]*table, len(collections))
	for _, c := range collections {
		if _, taken := tables[c.Name]; taken || c.Name == "" {
			return s.errorf("%w: collection name %q is empty or taken", uow.ErrConfig, c.Name)
		}
		t, err := newTable(c)
		if err != nil {
			return s.errorf("%w", err)
		}
		tables[c.Name] = t
	}
	s.tables = tables
	return nil
}

// Begin implements driver.Store. The snapshot is taken by the first read.
func (s *Store) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, s.options.Closed
	}
	return &tx{store: s}, nil
}

// Close implements driver.Store. It waits for commits that are running.
func (s *Store) Close() error { return s.change(&request{closing: true}) }

// table returns the table of a collection. The store is locked.
func (s *Store) table(collection string) (*table, error) {
	if s.closed {
		return nil, s.options.Closed
	}
	t, ok := s.tables[collection]
	if !ok {
		return nil, s.errorf("%w: collection %q is not registered", uow.ErrConfig, collection)
	}
	return t, nil
}

// reading runs fn with the store open and locked against changes.
func (s *Store) reading(ctx context.Context, fn func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return s.options.Closed
	}
	return fn()
}

// mapKey returns an index value as the key of a map, in which equal times are
// equal.
func mapKey(v driver.Value) any {
	switch x := v.(type) {
	case time.Time:
		return x.UnixMicro()
	case []byte:
		return string(x)
	}
	return v
}

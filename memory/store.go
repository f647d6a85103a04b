package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// ErrClosed is returned by everything after the store was closed.
var ErrClosed = errors.New("memory: the store is closed")

var (
	errEnded     = errors.New("memory: the transaction has ended")
	errNotNested = errors.New("memory: no nested part is open")
)

// Open returns a new, empty database. Closing it forgets everything.
func Open(ctx context.Context, cfg uow.Config) (*uow.DB, error) {
	return uow.Open(ctx, newStore(), cfg)
}

// store is a driver.Store and an outbox.Log.
type store struct {
	mu     sync.RWMutex
	closed bool
	tables map[string]*table
	// commits numbers the commits; a snapshot is such a number.
	commits int64
	pins    pins
	garbage []garbage
	log     log
	// writer is held by who commits, or has locked rows.
	writer chan struct{}

	subscribers outbox.Subscribers
}

var (
	_ driver.Store = (*store)(nil)
	_ outbox.Log   = (*store)(nil)
)

func newStore() *store {
	return &store{
		tables: map[string]*table{},
		writer: make(chan struct{}, 1),
		log:    log{cursors: map[string]*cursor{}},
	}
}

// Register implements driver.Store.
func (s *store) Register(ctx context.Context, collections []driver.Collection) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	tables := make(map[string]*table, len(collections))
	for _, c := range collections {
		if _, taken := tables[c.Name]; taken || c.Name == "" {
			return fmt.Errorf("%w: memory: collection name %q is empty or taken", uow.ErrConfig, c.Name)
		}
		t, err := newTable(c)
		if err != nil {
			return err
		}
		tables[c.Name] = t
	}
	s.tables = tables
	return nil
}

// Begin implements driver.Store. The snapshot is taken by the first read.
func (s *store) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	return &tx{store: s}, nil
}

// Close implements driver.Store.
func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.tables, s.garbage, s.log = nil, nil, log{}
	return nil
}

// table returns the table of a collection. The store is locked.
func (s *store) table(collection string) (*table, error) {
	if s.closed {
		return nil, ErrClosed
	}
	t, ok := s.tables[collection]
	if !ok {
		return nil, fmt.Errorf("%w: memory: collection %q is not registered", uow.ErrConfig, collection)
	}
	return t, nil
}

// locked runs fn with the store locked and open.
func (s *store) locked(ctx context.Context, fn func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
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

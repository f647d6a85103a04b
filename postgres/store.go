package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
	"github.com/uow-go/uow/internal/logscan"
	"github.com/uow-go/uow/internal/sharedread"
	"github.com/uow-go/uow/outbox"
)

// Store is a PostgreSQL database. It is a driver.Store, a driver.Resolver and an
// outbox.Log; users meet it as uow.DB.Store, and need it for nothing else.
type Store struct {
	options  Options
	pool     *pgxpool.Pool
	schema   string // quoted
	sql      *statements
	tables   map[string]*table // set by Register, then never changed
	listed   []*table          // in the order of Register
	scanner  *logscan.Scanner[string]
	recent   outbox.Recent
	wakes    wakes
	crowd    groupcommit.Crowd
	commits  groupcommit.Queue[*pgxpool.Conn]
	groupMem groupArena // of who leads
	reads    *sharedread.Queue[*table, *pgxpool.Conn]
	arenas   sync.Pool // of *arena
	enough   int64     // positions of a bucket before another is written to
	patience string    // for how long a bucket's lock is waited for

	closed atomic.Bool
	stop   context.CancelFunc // ends what runs in the background
	work   sync.WaitGroup

	mu   sync.Mutex
	open map[*tx]struct{} // transactions that have a connection
}

var (
	_ driver.Store    = (*Store)(nil)
	_ driver.Resolver = (*Store)(nil)
	_ driver.Nester   = (*tx)(nil)
	_ outbox.Log      = (*Store)(nil)
)

// OpenStore opens the database with these options, and creates the package's own
// tables where they are missing. It is for tests and tools that need the store
// itself; others call Options.Open.
func (o Options) OpenStore(ctx context.Context, dsn string) (*Store, error) {
	if err := o.validate(dsn); err != nil {
		return nil, err
	}
	s := &Store{options: o.withDefaults(), pool: o.Pool, open: map[*tx]struct{}{}, enough: enough, patience: patience}
	if s.pool == nil {
		pool, err := o.newPool(ctx, dsn)
		if err != nil {
			return nil, err
		}
		s.pool = pool
	}
	s.commits.Config = s.newCommits()
	s.crowd.Limit = min(crowdFrom, s.pool.Config().MaxConns)
	err := s.prepare(ctx)
	if err != nil {
		if o.Pool == nil {
			s.pool.Close()
		}
		return nil, err
	}
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wakes.start(background, s)
	s.reads = s.newReads()
	s.work.Go(func() { s.maintain(background) })
	return s, nil
}

// prepare makes the schema, and checks what the algorithms rely on.
func (s *Store) prepare(ctx context.Context) error {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return s.wrap(ctx, "open", err)
	}
	defer c.Release()
	schema, err := s.migrate(ctx, c.Conn())
	if err != nil {
		return err
	}
	s.schema = quote(schema)
	s.sql = newStatements(s.schema)
	s.wakes.channel = channelName(schema)
	return s.checkServer(ctx, c.Conn())
}

// Close closes the store. It waits for operations that are running; units that are
// still open fail, and are rolled back. A pool of Options.Pool is left open.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.stop()
	s.mu.Lock()
	open := make([]*tx, 0, len(s.open))
	for t := range s.open {
		open = append(open, t)
	}
	s.mu.Unlock()
	var ended sync.WaitGroup
	for _, t := range open { // at once, since one may wait for a lock of another
		ended.Go(t.discard)
	}
	ended.Wait()
	s.reads.Close()
	s.wakes.mu.Lock()   // from here on nothing is started
	s.wakes.mu.Unlock() //nolint:staticcheck // it is only waited for
	s.scanner.Quiet()
	s.work.Wait()
	if s.options.Pool == nil {
		s.pool.Close()
	}
	return nil
}

func (s *Store) table(collection string) (*table, error) {
	if t, ok := s.tables[collection]; ok {
		return t, nil
	}
	return nil, fmt.Errorf("postgres: collection %s is not registered", collection)
}

// acquire returns a connection to a primary.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		if s.closed.Load() {
			return nil, ErrClosed
		}
		return nil, s.wrap(ctx, "connect", err)
	}
	if c.Conn().PgConn().ParameterStatus("in_hot_standby") == "on" {
		c.Release()
		return nil, fmt.Errorf("%w: it is a standby; add target_session_attrs=read-write to the dsn", ErrServer)
	}
	return c, nil
}

// adopt notes that a transaction has a connection.
func (s *Store) adopt(t *tx) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	s.open[t] = struct{}{}
	return nil
}

func (s *Store) forget(t *tx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, t)
}

// dial opens a connection that is not one of the pool.
func (s *Store) dial(ctx context.Context) (*pgx.Conn, error) {
	cfg := s.pool.Config()
	if cfg.BeforeConnect != nil {
		if err := cfg.BeforeConnect(ctx, cfg.ConnConfig); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, cfg.ConnConfig)
}

var (
	errEnded = errors.New("postgres: the transaction has ended")
	errLost  = errors.New("postgres: the unit's connection was lost, and its transaction with it")
)

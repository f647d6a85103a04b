package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
	"github.com/uow-go/uow/internal/logscan"
	"github.com/uow-go/uow/internal/sharedread"
	"github.com/uow-go/uow/outbox"
)

// Store is a MySQL or MariaDB database. It is a driver.Store, a driver.Resolver and an
// outbox.Log; users meet it as uow.DB.Store, and need it for nothing else.
type Store struct {
	options   Options
	db        *sql.DB
	database  string // its name, not quoted
	schema    string // quoted, with the dot behind it
	collation string // orders strings by bytes, without padding
	maxPacket int    // the greatest number of bytes sent at once
	// timeoutRollsBack says that a lock that was waited for too long costs the whole
	// transaction.
	timeoutRollsBack bool
	ownLevel         Isolation         // of the connections' transactions where nothing else is said
	tables           map[string]*table // set by Register, then never changed
	listed           []*table          // in the order of Register
	scanner          *logscan.Scanner[int64]
	subscribers      outbox.Subscribers
	crowd            groupcommit.Crowd
	commits          groupcommit.Queue[*session]
	apart            apart
	reads            *sharedread.Queue[*table, *session]

	closed     atomic.Bool
	background context.Context
	stop       context.CancelFunc // ends what runs in the background
	starting   sync.Mutex         // guards the start of more of it
	work       sync.WaitGroup

	mu   sync.Mutex
	open map[*tx]struct{} // transactions that have a connection
}

var (
	_ driver.Store    = (*Store)(nil)
	_ driver.Resolver = (*Store)(nil)
	_ driver.Nester   = (*tx)(nil)
	_ driver.Locker   = (*tx)(nil)
	_ outbox.Log      = (*Store)(nil)
)

// OpenStore opens the database with these options, and creates the package's own
// tables where they are missing. It is for tests and tools that need the store
// itself; others call Options.Open.
func (o Options) OpenStore(ctx context.Context, dsn string) (*Store, error) {
	if err := o.validate(dsn); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	s := &Store{options: o, db: o.DB, ownLevel: unknownLevel, open: map[*tx]struct{}{}, maxPacket: smallestPacket}
	s.scanner = s.newScanner()
	s.crowd.Limit, s.commits.Config = crowdFrom, s.newCommits()
	if s.db == nil {
		db, err := o.newPool(dsn)
		if err != nil {
			return nil, err
		}
		s.db, s.ownLevel = db, RepeatableRead
	}
	if err := s.prepare(ctx); err != nil {
		if o.DB == nil {
			_ = s.db.Close() // the first error tells more
		}
		return nil, err
	}
	snapshots := maxSnapshots
	if n := s.db.Stats().MaxOpenConnections; n > 0 { // the units need some too
		snapshots, s.crowd.Limit = min(maxSnapshots, n/2), min(s.crowd.Limit, int32(n))
	}
	s.reads = sharedread.New(readSource{s}, snapshots)
	s.background, s.stop = context.WithCancel(context.Background())
	s.work.Go(func() { s.maintain(s.background) })
	return s, nil
}

// prepare checks what the algorithms rely on, and makes the package's own tables.
func (s *Store) prepare(ctx context.Context) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	if err := s.checkServer(ctx, c); err != nil {
		return err
	}
	if err := s.migrate(ctx, c); err != nil {
		return err
	}
	return s.checkTables(ctx, c)
}

// Close closes the store. It waits for operations that are running; units that are
// still open fail, and are rolled back. A pool of Options.DB is left open.
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
	s.starting.Lock()   // from here on nothing is started
	s.starting.Unlock() //nolint:staticcheck // it is only waited for
	s.work.Wait()
	if s.options.DB == nil {
		return s.db.Close()
	}
	return nil
}

// start runs fn in the background, unless the store is closed.
func (s *Store) start(fn func()) bool {
	s.starting.Lock()
	defer s.starting.Unlock()
	if s.closed.Load() {
		return false
	}
	s.work.Go(fn)
	return true
}

func (s *Store) table(collection string) (*table, error) {
	if t, ok := s.tables[collection]; ok {
		return t, nil
	}
	return nil, fmt.Errorf("mysql: collection %s is not registered", collection)
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

// Subscribe implements outbox.Log. Commits of other processes are not heard of; their
// messages are found by polling.
func (s *Store) Subscribe(fn func(recent bool)) (cancel func()) { return s.subscribers.Add(fn) }

package stores

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/faultproxy"
	"github.com/uow-go/uow/integration/internal/servers"
)

// Store is one way to keep a database.
type Store struct {
	Name string
	// Server describes the store's server; nil where there is none.
	Server *Server
	// Variant says that the same store is in the table before, in another mode.
	Variant bool
	// Waits says that a unit which runs its own SQL, or has flushed, makes others
	// wait until its end.
	Waits bool
	open  func(t testing.TB, o Options) *Database
}

// Server is what a store speaks to.
type Server struct {
	Protocol faultproxy.Protocol
	// Deadlock is what the protocol's errors say of a deadlock (Message.Text).
	Deadlock string
	// Deadlocks says that units may deadlock all the same, and are retried then.
	Deadlocks bool
	// Address returns where the server listens.
	Address func(t testing.TB) string
}

// Options are how to open a database.
type Options struct {
	Config uow.Config
	// Name is the Name of a database to open once more. Default: a new one, which
	// is dropped when the test ends.
	Name string
	// Address is where to connect to, in place of the server itself. Default: the
	// server.
	Address string
	// MaxConns bounds the connections. Default: 16.
	MaxConns int
	// CommitTimeout is for how long a commit waits. Default: the store's.
	CommitTimeout time.Duration
}

// Database is an open one. It is closed when the test ends.
type Database struct {
	*uow.DB
	// Name tells it apart.
	Name string
	// InUse counts the connections that units hold; nil where there is no server.
	InUse func() int
	// CloseAll ends the connections, which closing the DB leaves; nil as InUse.
	CloseAll func()
	// Sessions counts the server's sessions for this database, and those of them
	// that are in a transaction; nil where there is no server.
	Sessions func(ctx context.Context) (all, busy int, err error)
	// Mark reports whether the database has the marker that a unit was committed;
	// nil where units have none.
	Mark func(ctx context.Context, unit string) (bool, error)
	// Note writes a row with the text by the user's own SQL, and Notes counts the
	// rows of each text that has the prefix; nil where there is no SQL.
	Note  func(ctx context.Context, u *uow.Unit, text string) error
	Notes func(ctx context.Context, u *uow.Unit, prefix string) (map[string]int, error)
}

// Open opens a database.
func (s Store) Open(t testing.TB, o Options) *Database {
	t.Helper()
	if o.MaxConns == 0 {
		o.MaxConns = 16
	}
	return s.open(t, o)
}

// All returns all stores.
func All(local *servers.Local) []Store {
	return slices.Concat([]Store{memoryStore(), filesStore(), sqliteStore()}, postgresStores(local), mysqlStores(local))
}

// WithServer returns those that have a server.
func WithServer(local *servers.Local) []Store {
	var list []Store
	for _, s := range All(local) {
		if s.Server != nil {
			list = append(list, s)
		}
	}
	return list
}

// closed closes a database at the test's end, if that has not happened by then.
func closed(t testing.TB, db *uow.DB) {
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

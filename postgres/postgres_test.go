package postgres

import (
	"context"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/uowtest"
)

// TestStore leaves Serializable out: there the server refuses units that the checks
// do not repeat.
func TestStore(t *testing.T) {
	for name, options := range map[string]Options{
		"ReadCommitted":  {},
		"RepeatableRead": {Isolation: RepeatableRead},
		"Unprepared":     {Statements: Unprepared},
		"Bytes":          {Bodies: Bytes},
	} {
		t.Run(name, func(t *testing.T) { testStore(t, options, crowdFrom) })
	}
}

// TestStoreInACrowd shares each trip that can be shared.
func TestStoreInACrowd(t *testing.T) { testStore(t, Options{}, 0) }

// testStore has a crowd be more than so many operations at once.
func testStore(t *testing.T, options Options, crowd int32) {
	var store *Store
	open := func(t testing.TB, cfg uow.Config) *uow.DB {
		db, err := options.Open(t.Context(), needServer(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		store = db.Store().(*Store)
		store.crowd.limit = min(store.crowd.limit, crowd)
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return db
	}
	uowtest.TestStore(t, uowtest.Harness{
		Open: func(t testing.TB, cfg uow.Config) *uow.DB {
			options.Schema = newSchema(t)
			db := open(t, cfg)
			script(t, store, `CREATE TABLE `+store.schema+`.native (name text)`)
			return db
		},
		Reopen: open,
		Native: &uowtest.Native{
			Insert: func(ctx context.Context, u *uow.Unit, name string) error {
				_, err := Tx(u).Exec(ctx, `INSERT INTO `+store.schema+`.native VALUES ($1)`, name)
				return err
			},
			Count: func(ctx context.Context, u *uow.Unit, name string) (n int, err error) {
				err = Tx(u).QueryRow(ctx, `SELECT count(*) FROM `+store.schema+`.native WHERE name = $1`, name).Scan(&n)
				return n, err
			},
		},
		Lacks: uowtest.Capabilities{ConcurrentFlush: true, NULBytes: true}, // rows are locked
		InUse: func() int { return inUse(t, store) },
	})
}

// inUse counts connections that are in use. Those of shared snapshots come back a
// little after their last unit has ended.
func inUse(t *testing.T, s *Store) int {
	f := &fixture{T: t, store: s}
	f.until("shared snapshots end", func() bool {
		s.reads.mu.Lock()
		defer s.reads.mu.Unlock()
		return s.reads.readers == 0 && len(s.reads.open) == 0 && s.reads.ending == 0
	})
	return int(s.pool.Stat().AcquiredConns())
}

// script runs SQL outside of any unit.
func script(t testing.TB, s *Store, query string) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

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
		t.Run(name, func(t *testing.T) { testStore(t, options) })
	}
}

func testStore(t *testing.T, options Options) {
	var store *Store
	open := func(t testing.TB, cfg uow.Config) *uow.DB {
		db, err := options.Open(t.Context(), needServer(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		store = db.Store().(*Store)
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
			createClients(t, options.Schema)
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
		InUse: func() int { return int(store.pool.Stat().AcquiredConns()) },
	})
}

// createClients makes the kit's table of the user's.
func createClients(t testing.TB, schema string) {
	t.Helper()
	s, err := Options{Schema: schema}.OpenStore(t.Context(), needServer(t))
	if err != nil {
		t.Fatal(err)
	}
	script(t, s, `CREATE TABLE `+s.schema+`.`+uowtest.ClientTable+` (client_no bigint PRIMARY KEY, lock_version integer NOT NULL DEFAULT 0,
		name varchar(100) NOT NULL, email varchar(100) UNIQUE, born timestamp, credit numeric(12,2) NOT NULL, vip boolean NOT NULL,
		score double precision, rank smallint NOT NULL, photo bytea, address jsonb, note text NOT NULL DEFAULT 'none')`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// script runs SQL outside of any unit.
func script(t testing.TB, s *Store, query string) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

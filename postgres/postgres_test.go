package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/internal/storetest"
	"github.com/uow-go/uow/uowtest"
)

func TestStore(t *testing.T) {
	for name, options := range map[string]Options{
		"ReadCommitted":  {},
		"RepeatableRead": {Isolation: RepeatableRead},
		"Unprepared":     {Statements: Unprepared},
		"Bytes":          {Bodies: Bytes},
		"Serializable":   {Isolation: Serializable},
	} {
		t.Run(name, func(t *testing.T) { uowtest.TestStore(t, harness(t, options, crowdFrom, byTx)) })
	}
}

// TestStoreBySQL repeats the checks that have native writes, by the other ways to
// them.
func TestStoreBySQL(t *testing.T) {
	for name, native := range map[string]func(schema func() string) *uowtest.Native{"Statements": bySQL, "Transactions": bySQLTransactions} {
		for _, c := range uowtest.Checks() {
			if strings.Contains(c.Name, "native") || strings.HasPrefix(c.Name, "P16") {
				t.Run(name+"/"+c.Name, func(t *testing.T) { c.Run(t, harness(t, Options{}, crowdFrom, native)) })
			}
		}
	}
}

const (
	insertNative = `INSERT INTO %s.native VALUES ($1)`
	countNative  = `SELECT count(*) FROM %s.native WHERE name = $1`
)

// byTx, bySQL and bySQLTransactions are ways to the unit's own SQL.
func byTx(schema func() string) *uowtest.Native {
	return &uowtest.Native{
		Insert: func(ctx context.Context, u *uow.Unit, name string) error {
			_, err := Tx(u).Exec(ctx, fmt.Sprintf(insertNative, schema()), name)
			return err
		},
		Count: func(ctx context.Context, u *uow.Unit, name string) (n int, err error) {
			err = Tx(u).QueryRow(ctx, fmt.Sprintf(countNative, schema()), name).Scan(&n)
			return n, err
		},
	}
}

// conns has a connection of each unit, which outlives it: see SQL for what becomes of
// the *sql.DB itself.
type conns struct{ kept sync.Map }

func (c *conns) of(ctx context.Context, u *uow.Unit) (*sql.Conn, error) {
	if conn, ok := c.kept.Load(u); ok {
		return conn.(*sql.Conn), nil
	}
	conn, err := SQL(u).Conn(ctx)
	if err == nil {
		c.kept.Store(u, conn)
	}
	return conn, err
}

func bySQL(schema func() string) *uowtest.Native {
	var conns conns
	return &uowtest.Native{
		Insert: func(ctx context.Context, u *uow.Unit, name string) error {
			conn, err := conns.of(ctx, u)
			if err != nil {
				return err
			}
			_, err = conn.ExecContext(ctx, fmt.Sprintf(insertNative, schema()), name)
			return err
		},
		Count: func(ctx context.Context, u *uow.Unit, name string) (n int, err error) {
			err = SQL(u).QueryRowContext(ctx, fmt.Sprintf(countNative, schema()), name).Scan(&n)
			return n, err
		},
	}
}

func bySQLTransactions(schema func() string) *uowtest.Native {
	var conns conns
	n := bySQL(schema)
	n.Insert = func(ctx context.Context, u *uow.Unit, name string) error {
		conn, err := conns.of(ctx, u)
		if err != nil {
			return err
		}
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, fmt.Sprintf(insertNative, schema()), name); err != nil {
			return err
		}
		return tx.Commit()
	}
	return n
}

// TestStoreInACrowd shares each trip that can be shared.
func TestStoreInACrowd(t *testing.T) { uowtest.TestStore(t, harness(t, Options{}, 0, byTx)) }

// harness has a crowd be more than so many operations at once.
func harness(t *testing.T, options Options, crowd int32, native func(schema func() string) *uowtest.Native) uowtest.Harness {
	var store *Store
	open := func(t testing.TB, cfg uow.Config) *uow.DB {
		db, err := options.Open(t.Context(), needServer(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		store = db.Store().(*Store)
		store.crowd.Limit = min(store.crowd.Limit, crowd)
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return db
	}
	return uowtest.Harness{
		Open: func(t testing.TB, cfg uow.Config) *uow.DB {
			options.Schema = newSchema(t)
			createClients(t, options.Schema)
			db := open(t, cfg)
			script(t, store, `CREATE TABLE `+store.schema+`.native (name text)`)
			return db
		},
		Reopen: open,
		Native: native(func() string { return store.schema }),
		Lacks: uowtest.Capabilities{
			ConcurrentFlush:  true, // rows are locked
			NULBytes:         true,
			PreciseConflicts: options.Isolation == Serializable,
		},
		InUse: func() int { return inUse(t, store) },
	}
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

// inUse counts connections that are in use. Those of shared snapshots come back a
// little after their last unit has ended.
func inUse(t *testing.T, s *Store) int {
	f := &storetest.Fixture{T: t}
	f.Until("shared snapshots end", s.reads.Idle)
	return int(s.pool.Stat().AcquiredConns())
}

// script runs SQL outside of any unit.
func script(t testing.TB, s *Store, query string) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

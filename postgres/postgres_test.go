package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
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
		t.Run(name, func(t *testing.T) { uowtest.TestStore(t, harness(options, byTx)) })
	}
}

// TestStoreBySQL repeats the checks that have native writes, by the other ways to
// them.
func TestStoreBySQL(t *testing.T) {
	for name, native := range map[string]func(schema func() string) *uowtest.Native{"Statements": bySQL, "Transactions": bySQLTransactions} {
		for _, c := range uowtest.Checks() {
			if strings.Contains(c.Name, "native") || strings.HasPrefix(c.Name, "P16") {
				t.Run(name+"/"+c.Name, func(t *testing.T) { c.Run(t, harness(Options{}, native)) })
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

func harness(options Options, native func(schema func() string) *uowtest.Native) uowtest.Harness {
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
	return uowtest.Harness{
		Open: func(t testing.TB, cfg uow.Config) *uow.DB {
			options.Schema = newSchema(t)
			db := open(t, cfg)
			script(t, store, `CREATE TABLE `+store.schema+`.native (name text)`)
			return db
		},
		Reopen: open,
		Native: native(func() string { return store.schema }),
		Lacks:  uowtest.Capabilities{ConcurrentFlush: true, NULBytes: true}, // rows are locked
		InUse:  func() int { return int(store.pool.Stat().AcquiredConns()) },
	}
}

// script runs SQL outside of any unit.
func script(t testing.TB, s *Store, query string) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

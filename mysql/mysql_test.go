package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/uowtest"
)

// TestStore leaves Serializable out: there the server lets units wait for each other
// that the checks run one within the other.
func TestStore(t *testing.T) {
	for name, options := range map[string]Options{
		"ReadCommitted":  {},
		"RepeatableRead": {Isolation: RepeatableRead},
	} {
		t.Run(name, func(t *testing.T) { uowtest.TestStore(t, harness(newDatabase(t), options, byHandle())) })
	}
	t.Run("Crowd", func(t *testing.T) {
		h := harness(newDatabase(t), Options{}, byHandle())
		alone, again := h.Open, h.Reopen
		crowded := func(db *uow.DB) *uow.DB {
			s := db.Store().(*Store)
			s.crowd.Limit = 0
			conns := make([]*session, 16) // each has a goroutine of the driver's, and stays
			for i := range conns {
				conns[i], _ = s.acquire(context.Background())
			}
			for _, c := range conns {
				c.release()
			}
			return db
		}
		h.Open = func(t testing.TB, cfg uow.Config) *uow.DB { return crowded(alone(t, cfg)) }
		h.Reopen = func(t testing.TB, cfg uow.Config) *uow.DB { return crowded(again(t, cfg)) }
		uowtest.TestStore(t, h)
	})
}

// TestStoreOtherwise repeats checks that other options, or other ways to the unit's
// own SQL, could break.
func TestStoreOtherwise(t *testing.T) {
	for _, c := range []struct {
		name    string
		params  string
		options Options
		native  *uowtest.Native
		checks  []string // parts of names
	}{
		{"Bytes", "", Options{Bodies: Bytes}, byHandle(), []string{"P01", "P09", "P10", "Store_"}},
		// As MariaDB has it from 11.6 on, where the dsn wants it.
		{"SnapshotIsolation", "?innodb_snapshot_isolation=1", Options{Isolation: RepeatableRead}, byHandle(), []string{"P11", "P12", "P14", "Index_"}},
		{"Statements", "", Options{}, bySQL(), []string{"native", "P16"}},
		{"Transactions", "", Options{}, bySQLTransactions(), []string{"native", "P16"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.params != "" && reachable(needServer(t)+c.params) != nil {
				t.Skipf("the server has no %s: this needs MariaDB 10.6.18, 10.11.8 or later", c.params)
			}
			h := harness(newDatabase(t)+c.params, c.options, c.native)
			for _, check := range uowtest.Checks() {
				if check.Name == "P11_two_units_that_flushed" { // Capabilities.ConcurrentFlush
					continue
				}
				if slices.ContainsFunc(c.checks, func(part string) bool { return strings.Contains(check.Name, part) }) {
					t.Run(check.Name, func(t *testing.T) { check.Run(t, h) })
				}
			}
		})
	}
}

const (
	insertNative = `INSERT INTO native VALUES (?)`
	countNative  = `SELECT COUNT(*) FROM native WHERE name = ?`
)

func byHandle() *uowtest.Native {
	return &uowtest.Native{
		Insert: func(ctx context.Context, u *uow.Unit, name string) error {
			_, err := Tx(u).ExecContext(ctx, insertNative, name)
			return err
		},
		Count: func(ctx context.Context, u *uow.Unit, name string) (n int, err error) {
			err = Tx(u).QueryRowContext(ctx, countNative, name).Scan(&n)
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

func bySQL() *uowtest.Native {
	var conns conns
	return &uowtest.Native{
		Insert: func(ctx context.Context, u *uow.Unit, name string) error {
			conn, err := conns.of(ctx, u)
			if err == nil {
				_, err = conn.ExecContext(ctx, insertNative, name)
			}
			return err
		},
		Count: func(ctx context.Context, u *uow.Unit, name string) (n int, err error) {
			err = SQL(u).QueryRowContext(ctx, countNative, name).Scan(&n)
			return n, err
		},
	}
}

func bySQLTransactions() *uowtest.Native {
	var conns conns
	n := bySQL()
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
		if _, err := tx.ExecContext(ctx, insertNative, name); err != nil {
			return err
		}
		return tx.Commit()
	}
	return n
}

// harness has one database for all checks, which find it empty.
func harness(dsn string, options Options, native *uowtest.Native) uowtest.Harness {
	var store *Store
	open := func(t testing.TB, cfg uow.Config) *uow.DB {
		db, err := options.Open(t.Context(), dsn, cfg)
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
			empty(t, dsn)
			return open(t, cfg)
		},
		Reopen: open,
		Native: native,
		Lacks:  uowtest.Capabilities{ConcurrentFlush: true}, // rows are locked
		InUse:  func() int { return store.db.Stats().InUse },
	}
}

// execute runs SQL outside of any unit.
func execute(t testing.TB, s *Store, query string, args ...any) {
	t.Helper()
	if _, err := s.db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

const clientTable = `CREATE TABLE IF NOT EXISTS ` + uowtest.ClientTable + ` (
	client_no    BIGINT        NOT NULL PRIMARY KEY,
	lock_version INT           NOT NULL DEFAULT 0,
	name         VARCHAR(100)  NOT NULL,
	email        VARCHAR(100)  NULL UNIQUE,
	born         DATETIME(6)   NULL,
	credit       DECIMAL(12,2) NOT NULL,
	vip          BOOLEAN       NOT NULL,
	score        DOUBLE        NULL,
	` + "`rank`" + `       INT           NOT NULL,
	photo        BLOB          NULL,
	address      JSON          NULL,
	note         VARCHAR(100)  NOT NULL DEFAULT 'none'
) ENGINE=InnoDB`

// empty deletes everything that a database has, but for its tables, which would take
// longer to make.
func empty(t testing.TB, dsn string) {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), `SELECT table_name FROM information_schema.tables
		WHERE table_schema = ? AND table_name NOT IN ('uow_schema', 'uow_lanes', 'uow_state')`, cfg.DBName)
	if err != nil {
		t.Fatal(err)
	}
	queries := []string{`CREATE TABLE IF NOT EXISTS native (name VARCHAR(255))`, clientTable}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		queries = append(queries, "DELETE FROM "+name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if len(queries) > 2 {
		queries = append(queries, "UPDATE uow_state SET epochs = 0, trimmed = 0, forgotten = NULL")
	}
	for _, query := range queries {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
}

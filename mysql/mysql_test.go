package mysql

import (
	"context"
	"database/sql"
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
		"Bytes":          {Bodies: Bytes},
	} {
		t.Run(name, func(t *testing.T) { testStore(t, options) })
	}
}

func testStore(t *testing.T, options Options) {
	var store *Store
	dsn := newDatabase(t) // of all checks, which find it empty
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
	uowtest.TestStore(t, uowtest.Harness{
		Open: func(t testing.TB, cfg uow.Config) *uow.DB {
			empty(t, dsn)
			return open(t, cfg)
		},
		Reopen: open,
		Native: &uowtest.Native{
			Insert: func(ctx context.Context, u *uow.Unit, name string) error {
				_, err := Tx(u).ExecContext(ctx, `INSERT INTO native VALUES (?)`, name)
				return err
			},
			Count: func(ctx context.Context, u *uow.Unit, name string) (n int, err error) {
				err = Tx(u).QueryRowContext(ctx, `SELECT COUNT(*) FROM native WHERE name = ?`, name).Scan(&n)
				return n, err
			},
		},
		Lacks: uowtest.Capabilities{ConcurrentFlush: true}, // rows are locked
		InUse: func() int { return store.db.Stats().InUse },
	})
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

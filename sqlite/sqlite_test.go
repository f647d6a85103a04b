package sqlite

import (
	"context"
	sqldriver "database/sql/driver"
	"path/filepath"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/uowtest"
)

func TestStore(t *testing.T) {
	var path string
	var store *Store
	open := func(t testing.TB, cfg uow.Config) *uow.DB {
		db, err := Open(t.Context(), path, cfg)
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
			path = filepath.Join(t.TempDir(), "kit.db")
			createClients(t, path)
			db := open(t, cfg)
			script(t, store, `CREATE TABLE native (name TEXT)`)
			return db
		},
		Reopen: open,
		Native: &uowtest.Native{
			Insert: func(ctx context.Context, u *uow.Unit, name string) error {
				_, err := Tx(u).ExecContext(ctx, `INSERT INTO native VALUES (?)`, name)
				return err
			},
			Count: func(ctx context.Context, u *uow.Unit, name string) (n int, err error) {
				err = Tx(u).QueryRowContext(ctx, `SELECT count(*) FROM native WHERE name = ?`, name).Scan(&n)
				return n, err
			},
		},
		InUse: func() int { return inUse(store) },
		Lacks: uowtest.Capabilities{ConcurrentFlush: true},
	})
}

// createClients makes the kit's table of the user's.
func createClients(t testing.TB, path string) {
	t.Helper()
	s, err := OpenStore(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	script(t, s, `CREATE TABLE `+uowtest.ClientTable+` (client_no INTEGER PRIMARY KEY, lock_version INTEGER NOT NULL DEFAULT 0,
		name VARCHAR(100) NOT NULL, email VARCHAR(100) UNIQUE, born DATETIME, credit TEXT NOT NULL, vip BOOLEAN NOT NULL,
		score DOUBLE, rank INTEGER NOT NULL, photo BLOB, address JSON, note TEXT NOT NULL DEFAULT 'none')`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// inUse counts connections that units have.
func inUse(s *Store) int {
	s.readers.mu.Lock()
	n := s.readers.open - len(s.readers.idle)
	s.readers.mu.Unlock()
	s.writer.mu.Lock()
	defer s.writer.mu.Unlock()
	if s.writer.owner != nobody {
		n++
	}
	return n
}

func script(t testing.TB, s *Store, query string) {
	t.Helper()
	if err := s.writer.do(t.Context(), func(c *conn) error { return c.script(query) }); err != nil {
		t.Fatal(err)
	}
}

// check runs SQLite's own check of the file.
func (s *Store) check(ctx context.Context) (result string, err error) {
	err = s.reading(ctx, func(c *conn) error {
		return c.query(ctx, func(row []sqldriver.Value) error {
			result = text(row[0])
			return nil
		}, "PRAGMA integrity_check")
	})
	return result, err
}

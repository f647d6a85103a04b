package mysql

import (
	"context"
	"testing"

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
	var dsn string
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
			dsn = newDatabase(t)
			db := open(t, cfg)
			execute(t, store, `CREATE TABLE native (name VARCHAR(255))`)
			return db
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

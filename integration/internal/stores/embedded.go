package stores

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/files"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/sqlite"
)

func memoryStore() Store {
	return Store{Name: "memory", open: func(t testing.TB, o Options) *Database {
		t.Helper()
		db, err := memory.Open(t.Context(), o.Config)
		if err != nil {
			t.Fatal(err)
		}
		closed(t, db)
		return &Database{DB: db}
	}}
}

func filesStore() Store {
	return Store{Name: "files", open: func(t testing.TB, o Options) *Database {
		t.Helper()
		if o.Name == "" {
			o.Name = t.TempDir()
		}
		db, err := files.Open(t.Context(), o.Name, o.Config)
		if err != nil {
			t.Fatal(err)
		}
		closed(t, db)
		return &Database{DB: db, Name: o.Name}
	}}
}

func sqliteStore() Store {
	return Store{Name: "sqlite", Waits: true, open: func(t testing.TB, o Options) *Database {
		t.Helper()
		if o.Name == "" {
			o.Name = filepath.Join(t.TempDir(), "test.db")
		}
		db, err := sqlite.Options{Readers: o.MaxConns, Synchronous: sqlite.Normal}.Open(t.Context(), o.Name, o.Config)
		if err != nil {
			t.Fatal(err)
		}
		closed(t, db)
		err = db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
			_, err := sqlite.Tx(u).ExecContext(ctx, "CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL)")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return &Database{
			DB:   db,
			Name: o.Name,
			Note: func(ctx context.Context, u *uow.Unit, text string) error {
				_, err := sqlite.Tx(u).ExecContext(ctx, "INSERT INTO notes VALUES (?)", text)
				return err
			},
			Notes: func(ctx context.Context, u *uow.Unit, prefix string) (map[string]int, error) {
				rows, err := sqlite.Tx(u).QueryContext(ctx, "SELECT text, count(*) FROM notes WHERE substr(text, 1, length(?1)) = ?1 GROUP BY text", prefix) //nolint:rowserrcheck // counts does
				if err != nil {
					return nil, err
				}
				defer func() { _ = rows.Close() }()
				return counts(rows)
			},
		}
	}}
}

// counts reads rows of a text and a number.
func counts(rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
}) (map[string]int, error) {
	list := map[string]int{}
	for rows.Next() {
		var text string
		var n int
		if err := rows.Scan(&text, &n); err != nil {
			return nil, err
		}
		list[text] = n
	}
	return list, rows.Err()
}

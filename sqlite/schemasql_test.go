package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow"
)

type parcel struct{ ID, Owner string }

func parcels(unique bool) *uow.Collection[parcel] {
	return uow.Define(uow.CollectionConfig[parcel]{Name: "parcels", Indexes: []uow.Index[parcel]{
		{Name: "owner", Kind: uow.String, Unique: unique, Value: func(p *parcel) any { return p.Owner }},
	}})
}

// migrated runs SQL on a file, as a program for migrations does, and creates it.
func migrated(t *testing.T, path, script string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "BEGIN; "+script+"; COMMIT"); err != nil {
		t.Fatalf("%v in:\n%s", err, script)
	}
}

// What SchemaSQL says is enough for a store that may change nothing.
func TestSchemaSQL(t *testing.T) {
	path := temporary(t)
	options := Options{FixedSchema: true}
	cfg := uow.Config{Collections: []uow.AnyCollection{parcels(true)}}
	refused := func(when, says string) {
		t.Helper()
		if _, err := options.Open(t.Context(), path, cfg); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), says) {
			t.Fatalf("%s: got %v, want ErrMismatch that says %q", when, err, says)
		}
	}
	refused("a file that is missing", "FixedSchema")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file was made: %v", err)
	}
	migrated(t, path, "CREATE TABLE theirs (x)")
	refused("a schema that is missing", "SchemaSQL")
	own, err := SchemaSQL(0)
	if err != nil {
		t.Fatal(err)
	}
	migrated(t, path, own)
	refused("a table that is missing", "CREATE TABLE")
	table, err := SchemaSQL(versions(t), parcels(false))
	if err != nil {
		t.Fatal(err)
	}
	migrated(t, path, table)
	refused("an index that is not unique", "CREATE UNIQUE INDEX")
	descs, err := uow.Describe(cfg.Collections...)
	if err != nil {
		t.Fatal(err)
	}
	migrated(t, path, `DROP INDEX "parcels.owner"; DELETE FROM uow_indexes;`+indexSQL("parcels", descs[0].Indexes[0]))
	db, err := options.Open(t.Context(), path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	add := func(id string) error {
		return db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
			return cfg.Collections[0].(*uow.Collection[parcel]).In(u).Add(&parcel{ID: id, Owner: "b"})
		})
	}
	if err := add("a"); err != nil {
		t.Error(err)
	}
	if err := add("c"); !errors.Is(err, uow.ErrDuplicate) {
		t.Errorf("the unique value again: got %v, want ErrDuplicate", err)
	}
}

// The schema is the same, whether Open or a migration has made it.
func TestSchemaSQLIsWhatOpenDoes(t *testing.T) {
	opened, made := temporary(t), filepath.Join(t.TempDir(), "made.db")
	db, err := Open(t.Context(), opened, uow.Config{Collections: []uow.AnyCollection{parcels(true)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := SchemaSQL(0, parcels(true))
	if err != nil {
		t.Fatal(err)
	}
	migrated(t, made, all)
	if got, want := contents(t, made), contents(t, opened); !maps.Equal(got, want) {
		t.Errorf("a migration makes\n%v\nand Open\n%v", got, want)
	}
}

// contents returns the schema, and what the package has noted of it.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	s, err := Options{FixedSchema: true}.OpenStore(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found := map[string]string{}
	err = s.writer.do(t.Context(), func(c *conn) error {
		return c.query(t.Context(), func(row []sqldriver.Value) error {
			found[text(row[0])] = text(row[1])
			return nil
		}, `SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema
			UNION ALL SELECT 'version ' || version, name FROM uow_schema
			UNION ALL SELECT 'index ' || collection || ' ' || name, kind || ' ' || is_unique FROM uow_indexes`)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// versions is how many versions the package's own tables have had.
func versions(t *testing.T) int {
	t.Helper()
	files, err := fs.Glob(migrations, "schema/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return len(files)
}

func TestSchemaSQLFromEachVersion(t *testing.T) {
	newest := versions(t)
	for from := range newest + 1 {
		text, err := SchemaSQL(from)
		if err != nil {
			t.Fatal(err)
		}
		for version := 1; version <= newest; version++ {
			insert := fmt.Sprintf("INSERT INTO uow_schema VALUES (%d, ", version)
			if got, want := strings.Contains(text, insert), version > from; got != want {
				t.Errorf("from %d on: has version %d: %v, want %v", from, version, got, want)
			}
		}
	}
	for _, wrong := range []int{-1, newest + 1} {
		if _, err := SchemaSQL(wrong); err == nil {
			t.Errorf("version %d was taken", wrong)
		}
	}
}

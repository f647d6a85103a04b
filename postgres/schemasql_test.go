package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/uow-go/uow"
)

type parcel struct{ ID, Owner string }

func parcels() *uow.Collection[parcel] {
	return uow.Define(uow.CollectionConfig[parcel]{Name: "parcels", Indexes: []uow.Index[parcel]{
		{Name: "owner", Kind: uow.String, Unique: true, Value: func(p *parcel) any { return p.Owner }},
	}})
}

// What SchemaSQL says is enough for a store that may change nothing.
func TestSchemaSQL(t *testing.T) {
	dsn := needServer(t)
	options := Options{Schema: newSchema(t), FixedSchema: true}
	cfg := uow.Config{Collections: []uow.AnyCollection{parcels()}}
	if _, err := options.Open(t.Context(), dsn, cfg); !errors.Is(err, ErrMismatch) {
		t.Fatalf("a schema that is missing: got %v, want ErrMismatch", err)
	}
	apply := func(sql string) {
		t.Helper()
		admin, err := (Options{Schema: newSchema(t)}).OpenStore(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		c, err := admin.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer destroy(c)
		if _, err := c.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%v in:\n%s", err, sql)
		}
	}
	own, err := options.SchemaSQL(0)
	if err != nil {
		t.Fatal(err)
	}
	apply(own)
	_, err = options.Open(t.Context(), dsn, cfg)
	if !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "CREATE TABLE") {
		t.Fatalf("a table that is missing: got %v, want ErrMismatch with the SQL", err)
	}
	files, err := options.SchemaSQL(versions(t), parcels())
	if err != nil {
		t.Fatal(err)
	}
	apply(files)
	db, err := options.Open(t.Context(), dsn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		return cfg.Collections[0].(*uow.Collection[parcel]).In(u).Add(&parcel{ID: "a", Owner: "b"})
	}); err != nil {
		t.Error(err)
	}
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

// A database of any version is brought to the newest by what SchemaSQL says from there
// on, as Open does.
func TestSchemaSQLFromEachVersion(t *testing.T) {
	newest := versions(t)
	for from := range newest + 1 {
		sql, err := Options{}.SchemaSQL(from)
		if err != nil {
			t.Fatal(err)
		}
		for version := 1; version <= newest; version++ {
			insert := fmt.Sprintf("INSERT INTO uow_schema (version, name) VALUES (%d, ", version)
			if got, want := strings.Contains(sql, insert), version > from; got != want {
				t.Errorf("from %d on: has version %d: %v, want %v", from, version, got, want)
			}
		}
	}
	for _, wrong := range []int{-1, newest + 1} {
		if _, err := (Options{}).SchemaSQL(wrong); err == nil {
			t.Errorf("version %d was taken", wrong)
		}
	}
}

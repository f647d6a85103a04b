package postgres

import (
	"context"
	"errors"
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
	known, err := fs.Glob(migrations, "schema/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	files, err := options.SchemaSQL(len(known), parcels())
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

package mysql

import (
	"database/sql"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow"
)

type parcel struct{ ID, Owner string }

func parcels() *uow.Collection[parcel] {
	return uow.Define(uow.CollectionConfig[parcel]{Name: "parcels", Indexes: []uow.Index[parcel]{
		{Name: "owner", Kind: uow.String, Unique: true, Value: func(p *parcel) any { return p.Owner }},
	}})
}

// kindOf returns the kind of a store's server.
func kindOf(s *Store) Server {
	if s.collation == MySQL.collation() {
		return MySQL
	}
	return MariaDB
}

// migrated runs SQL on a database, as a program for migrations does.
func migrated(t *testing.T, dsn, script string) {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MultiStatements = true
	db, err := sql.Open("mysql", cfg.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), script); err != nil {
		t.Fatalf("%v in:\n%s", err, script)
	}
}

// What SchemaSQL says is enough for a store that may change nothing.
func TestSchemaSQL(t *testing.T) {
	server := kindOf(open(t, "", Options{}).store)
	dsn := newDatabase(t)
	options := Options{FixedSchema: true}
	cfg := uow.Config{Collections: []uow.AnyCollection{parcels()}}
	refused := func(when, says string) {
		t.Helper()
		if _, err := options.Open(t.Context(), dsn, cfg); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), says) {
			t.Fatalf("%s: got %v, want ErrMismatch that says %q", when, err, says)
		}
	}
	refused("a schema that is missing", "SchemaSQL")
	own, err := options.SchemaSQL(server, 0)
	if err != nil {
		t.Fatal(err)
	}
	migrated(t, dsn, own)
	refused("a table that is missing", "CREATE TABLE")
	table, err := options.SchemaSQL(server, versions(t), parcels())
	if err != nil {
		t.Fatal(err)
	}
	migrated(t, dsn, table)
	migrated(t, dsn, "ALTER TABLE parcels DROP INDEX `"+indexName("parcels", "owner")+"`")
	refused("an index that is missing", "UNIQUE KEY")
	migrated(t, dsn, "DROP TABLE parcels;"+table)
	db, err := options.Open(t.Context(), dsn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// The schema is the same, whether Open or a migration has made it.
func TestSchemaSQLIsWhatOpenDoes(t *testing.T) {
	opened, made := newDatabase(t), newDatabase(t)
	db, err := Open(t.Context(), opened, uow.Config{Collections: []uow.AnyCollection{parcels()}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := Options{}.SchemaSQL(kindOf(db.Store().(*Store)), 0, parcels())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	migrated(t, made, all)
	if got, want := schemaOf(t, made), schemaOf(t, opened); !maps.Equal(got, want) {
		t.Errorf("a migration makes\n%v\nand Open\n%v", got, want)
	}
}

// schemaOf returns how the server would make the tables.
func schemaOf(t *testing.T, dsn string) map[string]string {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SHOW TABLES")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[string]string{}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRowContext(t.Context(), "SHOW CREATE TABLE `"+name+"`").Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		found[name] = text
	}
	if err := rows.Err(); err != nil || len(found) < 8 {
		t.Fatal(found, err)
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

func TestSchemaSQLOfNothingThatThereIs(t *testing.T) {
	for what, ask := range map[string]func() (string, error){
		"a version before":  func() (string, error) { return Options{}.SchemaSQL(MariaDB, -1) },
		"a version to come": func() (string, error) { return Options{}.SchemaSQL(MariaDB, versions(t)+1) },
		"another server":    func() (string, error) { return Options{}.SchemaSQL(2, 0) },
	} {
		if text, err := ask(); err == nil {
			t.Errorf("%s: got %q, want an error", what, text)
		}
	}
	text, err := Options{}.SchemaSQL(MySQL, 0)
	if err != nil || !strings.Contains(text, "utf8mb4_0900_bin") || strings.Contains(text, "nopad") || strings.Contains(text, "{") {
		t.Errorf("for MySQL: %v, %s", err, text)
	}
}

package mysql

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow"
)

func TestOptionsAreValidated(t *testing.T) {
	for want, o := range map[string]Options{
		"MaxConns":        {MaxConns: -1},
		"Isolation":       {Isolation: 9},
		"Bodies":          {Bodies: 9},
		"CommitTimeout":   {CommitTimeout: -1},
		"MarkerRetention": {MarkerRetention: -1},
		"dsn":             {DB: new(sql.DB)},
	} {
		if _, err := o.Open(t.Context(), "root@tcp(127.0.0.1:1)/x", uow.Config{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
}

func TestPasswordsAreNotInErrors(t *testing.T) {
	for _, dsn := range []string{
		"u:s3cret@tcp(127.0.0.1:1)/x", "u:s3cret@tcp(127.0.0.1:1)/", "u:s3cret@tcp(127.0.0.1:1", "u:s3cret@tcp(127.0.0.1:1)/x?timeout=s3cret",
	} {
		_, err := Open(t.Context(), dsn, uow.Config{})
		if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.HasPrefix(err.Error(), "mysql: ") {
			t.Errorf("%s: got %v", dsn, err)
		}
	}
}

// TestExistingPool has pools that lack something, and one that does not.
func TestExistingPool(t *testing.T) {
	dsn := newDatabase(t)
	open(t, dsn, Options{})
	pool := func(change func(cfg *mysql.Config)) *sql.DB {
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		cfg.MultiStatements, cfg.ClientFoundRows, cfg.Params = true, true, map[string]string{}
		change(cfg)
		connector, err := mysql.NewConnector(cfg)
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(connector)
		t.Cleanup(func() { db.Close() })
		return db
	}
	for name, change := range map[string]func(cfg *mysql.Config){
		"multiStatements": func(cfg *mysql.Config) { cfg.MultiStatements = false },
		"clientFoundRows": func(cfg *mysql.Config) { cfg.ClientFoundRows = false },
		"sql_mode":        func(cfg *mysql.Config) { cfg.Params["sql_mode"] = "''" },
		"character set":   func(cfg *mysql.Config) { cfg.Params["character_set_client"] = "latin1" },
		"autocommit":      func(cfg *mysql.Config) { cfg.Params["autocommit"] = "0" },
		"increment":       func(cfg *mysql.Config) { cfg.Params["auto_increment_increment"] = "2" },
		"no database":     func(cfg *mysql.Config) { cfg.DBName = "" },
	} {
		_, err := Options{DB: pool(change)}.OpenStore(t.Context(), "")
		if !errors.Is(err, ErrServer) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want ErrServer that names it", name, err)
		}
	}
	db := pool(func(cfg *mysql.Config) { cfg.ParseTime = true })
	f := open(t, "", Options{DB: db})
	f.Insert("a")
	f.Must(f.Change("a"))
	f.Must(f.DB.Close())
	f.Must(db.Ping())
}

func TestNewerSchemaIsRefused(t *testing.T) {
	f := open(t, "", Options{})
	execute(t, f.store, `INSERT INTO uow_schema VALUES (99, 'from the future', UTC_TIMESTAMP(6))`)
	if _, err := OpenStore(t.Context(), f.dsn); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "99") {
		t.Errorf("got %v, want ErrSchema that names the version", err)
	}
}

func TestManyOpenOneNewDatabase(t *testing.T) {
	dsn := newDatabase(t)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			db, err := Options{MaxConns: 1}.Open(t.Context(), dsn, uow.Config{Collections: []uow.AnyCollection{uow.NewCollection[document]("documents")}})
			if err == nil {
				err = db.Close()
			}
			if err != nil {
				t.Errorf("open %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestIndexOfATableThatHasRows(t *testing.T) {
	dsn := newDatabase(t)
	long := strings.Repeat("n", 48)
	with := func(kind uow.Kind, unique bool, names ...string) uow.AnyCollection {
		cfg := uow.CollectionConfig[document]{Name: strings.Repeat("d", 48)}
		for _, name := range names {
			cfg.Indexes = append(cfg.Indexes, uow.Index[document]{Name: name, Kind: kind, Unique: unique, Value: func(d *document) any { return nil }})
		}
		return uow.Define(cfg)
	}
	for _, step := range []struct {
		name string
		c    uow.AnyCollection
		want error
	}{
		{"new", with(uow.Int, false), nil},
		{"indexes, empty", with(uow.Int, false, "count", long), nil},
		{"as before", with(uow.Int, false, "count", long), nil},
		{"unique, empty", with(uow.Int, true, "count", long), nil},
		{"another kind, empty", with(uow.String, true, "count"), nil},
		{"no longer, empty", with(uow.Int, false), nil},
		{"again, empty", with(uow.String, true, "count"), nil},
		{"with a row", with(uow.String, true, "count"), nil},
		{"not unique, with a row", with(uow.String, false, "count"), nil},
		{"another kind, with a row", with(uow.Int, true, "count"), ErrMismatch},
		{"a new index, with a row", with(uow.String, true, "count", "new"), ErrMismatch},
		{"no longer, with a row", with(uow.String, false), nil},
		{"again, with a row that was written meanwhile", with(uow.String, true, "count"), ErrMismatch},
	} {
		if step.name == "with a row" {
			s, err := OpenStore(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			execute(t, s, `INSERT INTO `+strings.Repeat("d", 48)+` (id, version, sequence, body) VALUES ('a', 1, 0, '{}')`)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		db, err := Open(t.Context(), dsn, uow.Config{Collections: []uow.AnyCollection{step.c}})
		if !errors.Is(err, step.want) {
			t.Errorf("%s: got %v, want %v", step.name, err, step.want)
		}
		if err == nil {
			db.Close()
		}
	}
	if _, err := (Options{Bodies: Bytes}).Open(t.Context(), dsn, uow.Config{Collections: []uow.AnyCollection{with(uow.Int, false)}}); !errors.Is(err, ErrMismatch) {
		t.Errorf("bodies of another type: got %v, want ErrMismatch", err)
	}
}

// TestStringsAreKeptApart has strings that a collation may take for the same.
func TestStringsAreKeptApart(t *testing.T) {
	f := open(t, "", Options{})
	ids := []string{"", "a", "a ", "a\x00", "A", "ä", "a\u0308", "\\", "'", "\\'; DROP TABLE documents; -- ", "\"", "?", "%", "_", "😀", strings.Repeat("é", 255)}
	if f.store.maxPacket < 1<<20 {
		t.Fatal("the server takes less than a megabyte")
	}
	for _, id := range ids[1:] {
		f.Insert(id)
	}
	for _, id := range ids[1:] {
		if !f.Has(id) {
			t.Errorf("there is no %q", id)
		}
	}
	for _, id := range []string{strings.Repeat("é", 256), "\xff", "a\xc3"} {
		err := f.DB.Do(t.Context(), func(_ context.Context, u *uow.Unit) error { return f.Documents.In(u).Add(&document{ID: id}) })
		if !errors.Is(err, ErrText) {
			t.Errorf("%.10q: got %v, want ErrText", id, err)
		}
	}
}

func TestValuesThatDoNotFit(t *testing.T) {
	f := open(t, "", Options{})
	s := newScript()
	s.value(math.Inf(1))
	if !errors.Is(s.err, ErrValue) {
		t.Errorf("infinity: got %v, want ErrValue", s.err)
	}
	cs := appending("u", "m")
	cs.Messages[0].CreatedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := f.Tx().Commit(t.Context(), cs); !errors.Is(err, ErrValue) {
		t.Errorf("the year 10000: got %v, want ErrValue", err)
	}
	f.store.maxPacket = 10_000
	cs = insert("u", "a")
	cs.Writes[0].Body = []byte(`"` + strings.Repeat("x", 20_000) + `"`)
	if err := f.Tx().Commit(t.Context(), cs); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a body that is too large: got %v, want ErrTooLarge", err)
	}
	cs.Writes[0].Body = []byte("\xff")
	if err := f.Tx().Commit(t.Context(), cs); !errors.Is(err, ErrText) {
		t.Errorf("a body that is not UTF-8: got %v, want ErrText", err)
	}
}

package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

func asConflict(err error, target *driver.ConflictError) bool {
	var conflict *driver.ConflictError
	if errors.As(err, &conflict) {
		*target = *conflict
	}
	return conflict != nil
}

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
	f.add("a")
	f.must(f.change("a"))
	f.must(f.db.Close())
	f.must(db.Ping())
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
		{"with a row", with(uow.String, true, "count"), nil},
		{"not unique, with a row", with(uow.String, false, "count"), nil},
		{"another kind, with a row", with(uow.Int, true, "count"), ErrMismatch},
		{"a new index, with a row", with(uow.String, true, "count", "new"), ErrMismatch},
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

func TestRow57Of100(t *testing.T) {
	for name, o := range map[string]Options{"ReadCommitted": {}, "RepeatableRead": {Isolation: RepeatableRead}} {
		t.Run(name, func(t *testing.T) {
			f := open(t, "", o)
			ids := names("a", 100)
			f.add(ids...)
			for _, flushed := range []bool{false, true} {
				err := f.db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
					all, err := f.documents.In(u).GetMany(ctx, ids...)
					f.must(err)
					if flushed { // the rows that were flushed are as expected
						all[3].Count = 77
						f.must(u.Flush(ctx))
					}
					for _, d := range all {
						d.count()
					}
					f.must(f.change(ids[57]))
					f.must(f.change(ids[57]))
					return err
				})
				var got driver.ConflictError
				want := driver.ConflictError{Collection: "documents", ID: ids[57], Expected: 1, Found: 3}
				if flushed {
					want.Expected, want.Found = 3, 5
				}
				if !asConflict(err, &got) || got != want {
					t.Errorf("flushed %v: got %v, want %v", flushed, err, &want)
				}
			}
			if got, _ := f.drain(0); len(got) != 4 {
				t.Errorf("the log has %d messages, want the other units' 4", len(got))
			}
		})
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
		f.add(id)
	}
	for _, id := range ids[1:] {
		if !f.has(id) {
			t.Errorf("there is no %q", id)
		}
	}
	for _, id := range []string{strings.Repeat("é", 256), "\xff", "a\xc3"} {
		err := f.db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error { return f.documents.In(u).Add(&document{ID: id}) })
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
	if err := f.tx().Commit(t.Context(), cs); !errors.Is(err, ErrValue) {
		t.Errorf("the year 10000: got %v, want ErrValue", err)
	}
	f.store.maxPacket = 10_000
	cs = insert("u", "a")
	cs.Writes[0].Body = []byte(`"` + strings.Repeat("x", 20_000) + `"`)
	if err := f.tx().Commit(t.Context(), cs); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a body that is too large: got %v, want ErrTooLarge", err)
	}
	cs.Writes[0].Body = []byte("\xff")
	if err := f.tx().Commit(t.Context(), cs); !errors.Is(err, ErrText) {
		t.Errorf("a body that is not UTF-8: got %v, want ErrText", err)
	}
}

// TestPoolStaysHealthy ends units in ways that leave connections in odd states, with
// one connection in the pool, and then demands that it works.
func TestPoolStaysHealthy(t *testing.T) {
	f := open(t, "", Options{MaxConns: 1})
	f.quiet()
	f.add("a")
	execute(t, f.store, "CREATE TABLE numbers (n INT PRIMARY KEY)")
	execute(t, f.store, "INSERT INTO numbers VALUES (1), (2), (3)")
	bad := func(u *uow.Unit, query string) error {
		_, err := Tx(u).ExecContext(t.Context(), query)
		return err
	}
	for name, fn := range map[string]func(ctx context.Context, u *uow.Unit) error{
		"a read that is cancelled": func(ctx context.Context, u *uow.Unit) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			_, err := f.documents.In(u).Get(ctx, "a")
			return err
		},
		"a statement that is cancelled": func(ctx context.Context, u *uow.Unit) error {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			_, err := Tx(u).ExecContext(ctx, "DO SLEEP(60)")
			return err
		},
		"wrong SQL":      func(_ context.Context, u *uow.Unit) error { return bad(u, "SELECT wrong") },
		"two statements": func(_ context.Context, u *uow.Unit) error { return bad(u, "SELECT 1; DELETE FROM numbers") },
		"COMMIT":         func(_ context.Context, u *uow.Unit) error { return bad(u, "COMMIT") },
		"an implicit COMMIT": func(_ context.Context, u *uow.Unit) error {
			return bad(u, "CREATE TABLE made_"+strings.ReplaceAll(u.ID(), "-", "")+" (n INT)")
		},
		"ROLLBACK, COMMIT, and work after": func(ctx context.Context, u *uow.Unit) error {
			_ = bad(u, "ROLLBACK")
			f.must(bad(u, "INSERT INTO numbers VALUES (99)")) // must not be committed by itself
			return u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error { return bad(u, "INSERT INTO numbers VALUES (100)") })
		},
		"rows that are left open": func(ctx context.Context, u *uow.Unit) error {
			rows, err := Tx(u).QueryContext(ctx, "SELECT n FROM numbers")
			if err == nil && rows.Next() {
				err = errors.New("left open")
			}
			return err
		},
		"the unit's connection is killed": func(_ context.Context, u *uow.Unit) error {
			_ = bad(u, "KILL CONNECTION_ID()")
			return nil
		},
		"a duplicate": func(_ context.Context, u *uow.Unit) error { return f.documents.In(u).Add(&document{ID: "a"}) },
	} {
		err := f.db.Do(t.Context(), fn)
		if err == nil {
			t.Errorf("%s: the unit went well", name)
		}
		if strings.Contains(name, "COMMIT") != errors.Is(err, ErrRolledBack) {
			t.Errorf("%s: got %v", name, err)
		}
		f.must(f.change("a"))
		if n := f.store.db.Stats().InUse; n != 0 {
			t.Errorf("%s: %d connections are in use", name, n)
		}
		var n int
		f.must(f.store.db.QueryRow("SELECT COUNT(*) FROM numbers WHERE @@autocommit = 1").Scan(&n))
		if n != 3 {
			t.Errorf("%s: the table has %d rows, want 3", name, n)
		}
	}
}

func TestNativeAndRepositories(t *testing.T) {
	f := open(t, "", Options{})
	f.add("a")
	f.must(f.db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		d, err := f.documents.In(u).Get(ctx, "a")
		f.must(err)
		d.count()
		f.must(u.Flush(ctx))
		var n int
		f.must(Tx(u).QueryRowContext(ctx, `SELECT JSON_VALUE(body, '$.Count') FROM documents WHERE id = ?`, "a").Scan(&n))
		if n != 1 {
			t.Errorf("the unit's own SQL sees %d, want the flushed 1", n)
		}
		for _, query := range []string{"SAVEPOINT mine", "ROLLBACK TO mine"} {
			_, err = Tx(u).ExecContext(ctx, query)
			f.must(err)
		}
		_, err = Tx(u).ExecContext(ctx, "INSERT INTO uow_state (one) VALUES (1)")
		if code(err) != codeDuplicate {
			t.Errorf("got %v, want a duplicate, after which the unit goes on", err)
		}
		rows, err := Tx(u).QueryContext(ctx, `SELECT lane FROM uow_lanes`)
		f.must(err)
		if !rows.Next() {
			t.Error("no rows")
		}
		if _, err := Tx(u).ExecContext(ctx, `DO 1`); !errors.Is(err, errBusy) {
			t.Errorf("with rows open: got %v, want errBusy", err)
		}
		return nil // the commit closes them
	}))
	if !f.has("a") {
		t.Error("the row is gone")
	}
}

// TestDeadlockInOwnSQL lets two units lock two rows crosswise: the one that loses is
// retryable, also when its nested unit swallows the error, and leaves nothing.
func TestDeadlockInOwnSQL(t *testing.T) {
	f := open(t, "", Options{})
	execute(t, f.store, "CREATE TABLE numbers (n INT PRIMARY KEY, v INT NOT NULL)")
	execute(t, f.store, "INSERT INTO numbers VALUES (1, 0), (2, 0)")
	var ready sync.WaitGroup
	ready.Add(2)
	errs := make(chan error, 2)
	for i, order := range [][2]int{{1, 2}, {2, 1}} {
		go func() {
			errs <- f.db.Do(context.Background(), func(ctx context.Context, u *uow.Unit) error {
				add := func(ctx context.Context, u *uow.Unit, n int) error {
					_, err := Tx(u).ExecContext(ctx, "UPDATE numbers SET v = v + 1 WHERE n = ?", n)
					return err
				}
				err := add(ctx, u, order[0])
				ready.Done()
				ready.Wait()
				if i == 0 {
					return errors.Join(err, add(ctx, u, order[1]))
				}
				_ = u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error { return add(ctx, u, order[1]) })
				_, _ = Tx(u).ExecContext(ctx, "INSERT INTO numbers VALUES (3, 0)")
				return err
			})
		}()
	}
	failed := 0
	for range 2 {
		if err := <-errs; errors.Is(err, uow.ErrRetryable) {
			failed++
		} else if err != nil {
			t.Errorf("got %v, want ErrRetryable", err)
		}
	}
	var sum int
	f.must(f.store.db.QueryRow("SELECT SUM(v) FROM numbers").Scan(&sum))
	if failed != 1 || sum != 2 {
		t.Errorf("%d units failed, want 1; the sum is %d, want 2", failed, sum)
	}
}

// TestSerializableSkew has two units, each of which reads what the other writes.
func TestSerializableSkew(t *testing.T) {
	f := open(t, "", Options{})
	f.add("a", "b")
	begin := func(reads, writes string) *uow.Unit {
		u := f.db.With(uow.UnitOptions{Serializable: true}).Begin()
		t.Cleanup(func() { u.Close() })
		_, err := f.documents.In(u).Get(t.Context(), reads)
		f.must(err)
		d, err := f.documents.In(u).Get(t.Context(), writes)
		f.must(err)
		d.Count++
		return u
	}
	one, two := begin("a", "b"), begin("b", "a")
	f.must(one.Commit(t.Context()))
	if err := two.Commit(t.Context()); !errors.Is(err, driver.ErrConflict) {
		t.Errorf("got %v, want ErrConflict for the second", err)
	}
}

// TestUnitsDoNotDeadlock has units that change, remove, add and check overlapping
// rows in any order: they conflict, and never wait for each other in a circle.
func TestUnitsDoNotDeadlock(t *testing.T) {
	f := open(t, "", Options{})
	ids := names("a", 12)
	f.add(ids...)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 5))
			for range 40 {
				err := f.db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error { return f.stir(ctx, u, random, ids) })
				if err != nil && !errors.Is(err, uow.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// stir does something else to each of a few rows.
func (f *fixture) stir(ctx context.Context, u *uow.Unit, random *rand.Rand, ids []string) error {
	r := f.documents.In(u)
	var some []string
	for _, i := range random.Perm(len(ids))[:8] {
		some = append(some, ids[i])
	}
	found, err := r.GetMany(ctx, some...)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, d := range found {
		there[d.ID] = true
		switch random.IntN(4) {
		case 0:
			err = r.Remove(d)
		case 1:
			var v int64
			if v, err = r.Version(d); err == nil {
				err = r.Require(d, v)
			}
		default:
			d.count()
		}
		if err != nil {
			return err
		}
	}
	for _, id := range some {
		if !there[id] {
			if err := r.Add(&document{ID: id}); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestVersionsGoOnWhenADeleteIsMet lets an insert wait for the delete of the same
// row: it must see what the delete remembers.
func TestVersionsGoOnWhenADeleteIsMet(t *testing.T) {
	for name, o := range map[string]Options{"ReadCommitted": {}, "RepeatableRead": {Isolation: RepeatableRead}} {
		t.Run(name, func(t *testing.T) {
			f := open(t, "", o)
			f.add("a")
			f.must(f.change("a"))
			deleting := f.tx()
			f.must(deleting.Flush(t.Context(), &driver.ChangeSet{Writes: []driver.Write{
				{Op: driver.Delete, Collection: "documents", ID: "a", Expected: 2, Version: 3, Sequence: 1},
			}}))
			cs := insert("2", "a")
			done := make(chan error, 1)
			go func() {
				tx, err := f.store.Begin(context.Background(), driver.TxOptions{})
				if err == nil {
					err = tx.Commit(context.Background(), cs)
				}
				done <- err
			}()
			f.until("the insert waits", func() bool { return f.waiting() > 0 })
			f.must(deleting.Commit(t.Context(), &driver.ChangeSet{Unit: "1"}))
			err := <-done
			if errors.Is(err, driver.ErrRetryable) {
				err = f.tx().Commit(t.Context(), cs)
			}
			f.must(err)
			rows, err := f.tx().Get(t.Context(), "documents", []string{"a"})
			f.must(err)
			if got := fmt.Sprint(rows[0].Version, rows[0].Sequence, cs.Writes[0].Version); got != "4 1 4" {
				t.Errorf("version, sequence and the change set's version are %s, want 4 1 4", got)
			}
		})
	}
}

// TestLockWaitCostsTheStatement: a nested unit whose lock was waited for too long can
// be undone by itself.
func TestLockWaitCostsTheStatement(t *testing.T) {
	cfg, err := mysql.ParseDSN(newDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Params = map[string]string{"innodb_lock_wait_timeout": "1"}
	f := open(t, cfg.FormatDSN(), Options{})
	f.add("a", "b")
	holder := f.tx()
	update := func(id string) *driver.ChangeSet {
		return &driver.ChangeSet{Unit: id, Writes: []driver.Write{
			{Op: driver.Update, Collection: "documents", ID: id, Expected: 1, Version: 2, Body: []byte(`{}`), Indexes: []driver.Value{nil}},
		}}
	}
	f.must(holder.Flush(t.Context(), update("a")))
	tx := f.tx()
	f.must(tx.Flush(t.Context(), update("b")))
	f.must(tx.(driver.Nester).Nest(t.Context()))
	if err := tx.Flush(t.Context(), update("a")); !errors.Is(err, driver.ErrRetryable) {
		t.Errorf("got %v, want ErrRetryable", err)
	}
	f.must(tx.(driver.Nester).Unnest(false))
	f.must(tx.Commit(t.Context(), &driver.ChangeSet{Unit: "x"}))
	f.must(holder.Rollback())
	rows, err := f.tx().Get(t.Context(), "documents", []string{"b"})
	f.must(err)
	if len(rows) != 1 || rows[0].Version != 2 {
		t.Errorf("got %v, want b in version 2", rows)
	}
}

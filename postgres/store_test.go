package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/storetest"
)

func TestOptionsAreValidated(t *testing.T) {
	for want, o := range map[string]Options{
		"MaxConns":        {MaxConns: -1},
		"Isolation":       {Isolation: 9},
		"Statements":      {Statements: 9},
		"Bodies":          {Bodies: 9},
		"CommitTimeout":   {CommitTimeout: -1},
		"MarkerRetention": {MarkerRetention: -1},
		"Schema":          {Schema: strings.Repeat("x", 64)},
	} {
		if _, err := o.Open(t.Context(), "postgres://nowhere.invalid/x", uow.Config{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
}

func TestPasswordsAreNotInErrors(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:s3cret@127.0.0.1:1/x?sslmode=disable",
		"postgres://u:s3cret@127.0.0.1:port/x",
		"host=127.0.0.1 port=1 password=s3cret sslmode=disable dbname=x connect_timeout=nonsense",
		"host=127.0.0.1 port=1 password='s3cret sslmode=disable",
	} {
		_, err := Open(t.Context(), dsn, uow.Config{})
		if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.HasPrefix(err.Error(), "postgres: ") {
			t.Errorf("%s: got %v", dsn, err)
		}
	}
}

func TestExistingPool(t *testing.T) {
	f := open(t, needServer(t), Options{})
	o := Options{Pool: f.store.pool, Schema: unquote(f.store.schema)}
	if _, err := o.Open(t.Context(), needServer(t), uow.Config{}); err == nil {
		t.Error("a pool and a dsn were taken")
	}
	other := open(t, "", o)
	other.Insert("a")
	f.Must(other.DB.Close())
	if !f.Has("a") {
		t.Error("the pool is closed, or the row is not there")
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	f := open(t, needServer(t), Options{})
	script(t, f.store, `INSERT INTO `+f.store.schema+`.uow_schema VALUES (99, 'from the future')`)
	_, err := Options{Schema: unquote(f.store.schema)}.OpenStore(t.Context(), needServer(t))
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "99") {
		t.Errorf("got %v, want ErrSchema that names the version", err)
	}
}

func TestSequenceWithCacheIsRefused(t *testing.T) {
	f := open(t, needServer(t), Options{})
	script(t, f.store, `ALTER SEQUENCE `+f.store.schema+`.uow_outbox_position CACHE 10`)
	if _, err := (Options{Schema: unquote(f.store.schema)}).OpenStore(t.Context(), needServer(t)); !errors.Is(err, ErrServer) {
		t.Errorf("got %v, want ErrServer", err)
	}
}

func TestManyOpenOneNewSchema(t *testing.T) {
	o := Options{Schema: newSchema(t) + ` "odd'`, MaxConns: 1}
	t.Cleanup(func() {
		s, err := OpenStore(context.Background(), needServer(t))
		if err == nil {
			_, err = s.pool.Exec(context.Background(), "DROP SCHEMA "+quote(o.Schema)+" CASCADE")
			err = errors.Join(err, s.Close())
		}
		if err != nil {
			t.Error(err)
		}
	})
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			db, err := o.Open(t.Context(), needServer(t), uow.Config{Collections: []uow.AnyCollection{uow.NewCollection[document]("documents")}})
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
	o := Options{Schema: newSchema(t)}
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
		{"another kind, empty", with(uow.Time, true, "count"), nil},
		{"no longer, empty", with(uow.Int, false), nil},
		{"again, empty", with(uow.Time, true, "count"), nil},
		{"with a row", with(uow.Time, true, "count"), nil},
		{"another kind, with a row", with(uow.Int, true, "count"), ErrMismatch},
		{"a new index, with a row", with(uow.Time, true, "count", "new"), ErrMismatch},
		{"no longer, with a row", with(uow.Time, false), nil},
		{"again, with a row that was written meanwhile", with(uow.Time, true, "count"), ErrMismatch},
	} {
		s, err := o.OpenStore(t.Context(), needServer(t))
		if err != nil {
			t.Fatal(err)
		}
		if step.name == "with a row" {
			script(t, s, `INSERT INTO `+s.schema+`.`+strings.Repeat("d", 48)+` (id, version, sequence, body) VALUES ('a', 1, 0, '{}')`)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		db, err := o.Open(t.Context(), needServer(t), uow.Config{Collections: []uow.AnyCollection{step.c}})
		if !errors.Is(err, step.want) {
			t.Errorf("%s: got %v, want %v", step.name, err, step.want)
		}
		if err == nil {
			db.Close()
		}
	}
}

func TestRow57Of100(t *testing.T) {
	for name, o := range map[string]Options{"ReadCommitted": {}, "RepeatableRead": {Isolation: RepeatableRead}} {
		t.Run(name, func(t *testing.T) {
			f := open(t, needServer(t), o)
			ids := storetest.Names("a", 100)
			f.Insert(ids...)
			err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
				all, err := f.Documents.In(u).GetMany(ctx, ids...)
				for _, d := range all {
					d.Add(1)
				}
				f.Must(f.Change(ids[57]))
				f.Must(f.Change(ids[57]))
				return err
			})
			var conflict *uow.ConflictError
			want := uow.ConflictError{Collection: "documents", ID: ids[57], Expected: 1, Found: 3}
			if !errors.As(err, &conflict) || *conflict != want {
				t.Errorf("got %v, want %v", err, &want)
			}
			if got, _ := f.Drain(0); len(got) != 2 {
				t.Errorf("the log has %d messages, want the other unit's 2", len(got))
			}
			if n := f.store.pool.Stat().NewConnsCount(); n > 3 {
				t.Errorf("%d connections were made: a conflict has cost one", n)
			}
		})
	}
}

// TestPoolStaysHealthy ends units in ways that leave connections in odd states, with
// one connection in the pool, and then demands that it works, mostly the same one.
func TestPoolStaysHealthy(t *testing.T) {
	f := open(t, needServer(t), Options{MaxConns: 1})
	f.quiet()
	f.Insert("a")
	bad := func(u *uow.Unit, query string) error {
		_, err := Tx(u).Exec(t.Context(), query)
		return err
	}
	for name, fn := range map[string]func(ctx context.Context, u *uow.Unit) error{
		"a read that is cancelled": func(ctx context.Context, u *uow.Unit) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			_, err := f.Documents.In(u).Get(ctx, "a")
			return err
		},
		"a statement that is cancelled": func(ctx context.Context, u *uow.Unit) error {
			ctx, cancel := context.WithTimeout(ctx, 20e6)
			defer cancel()
			_, err := Tx(u).Exec(ctx, "SELECT pg_sleep(60)")
			return err
		},
		"wrong SQL":          func(_ context.Context, u *uow.Unit) error { return bad(u, "SELECT wrong") },
		"wrong SQL, ignored": func(_ context.Context, u *uow.Unit) error { _ = bad(u, "SELECT 1/0"); return nil },
		"COMMIT":             func(_ context.Context, u *uow.Unit) error { return bad(u, "COMMIT") },
		"ROLLBACK, and work after": func(ctx context.Context, u *uow.Unit) error {
			_ = bad(u, "ROLLBACK")
			_, err := f.Documents.In(u).Get(ctx, "a")
			return err
		},
		"rows that are left open": func(ctx context.Context, u *uow.Unit) error {
			rows, err := Tx(u).Query(ctx, "SELECT generate_series(1, 100000)")
			if err == nil && rows.Next() {
				err = errors.New("left open")
			}
			return err
		},
		"another unit's own connection is terminated": func(_ context.Context, u *uow.Unit) error {
			return bad(u, "SELECT pg_terminate_backend(pg_backend_pid())")
		},
		"a duplicate": func(_ context.Context, u *uow.Unit) error { return f.Documents.In(u).Add(&document{ID: "a"}) },
		"a string with NUL": func(_ context.Context, u *uow.Unit) error {
			return f.Documents.In(u).Add(&document{ID: "a\x00"})
		},
		"a string that is not UTF-8": func(_ context.Context, u *uow.Unit) error {
			return f.Documents.In(u).Add(&document{ID: "a\xff"})
		},
	} {
		err := f.DB.Do(t.Context(), fn)
		if err == nil {
			t.Errorf("%s: the unit went well", name)
		}
		if strings.Contains(name, "string") != errors.Is(err, ErrText) {
			t.Errorf("%s: got %v", name, err)
		}
		if strings.Contains(name, "COMMIT") && !errors.Is(err, ErrRolledBack) {
			t.Errorf("%s: got %v, want ErrRolledBack", name, err)
		}
		f.Must(f.Change("a"))
		if n := f.store.pool.Stat().AcquiredConns(); n != 0 {
			t.Errorf("%s: %d connections are in use", name, n)
		}
	}
}

func TestNativeAndRepositories(t *testing.T) {
	f := open(t, needServer(t), Options{})
	f.Insert("a")
	f.Must(f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		d, err := f.Documents.In(u).Get(ctx, "a")
		f.Must(err)
		d.Add(1)
		f.Must(Tx(u).Flush(ctx))
		var n int
		f.Must(Tx(u).QueryRow(ctx, `SELECT (body->>'Count')::int FROM `+f.store.schema+`.documents WHERE id = $1`, "a").Scan(&n))
		if n != 1 {
			t.Errorf("the unit's own SQL sees %d, want the flushed 1", n)
		}
		rows, err := Tx(u).Query(ctx, `SELECT generate_series(1, 3)`)
		f.Must(err)
		if !rows.Next() {
			t.Error("no rows")
		}
		if _, err := Tx(u).Exec(ctx, `SELECT 1`); !errors.Is(err, errBusy) {
			t.Errorf("with rows open: got %v, want errBusy", err)
		}
		return nil // the commit closes them
	}))
	if !f.Has("a") {
		t.Error("the row is gone")
	}
}

// TestSerializableSkew has two units, each of which reads what the other writes.
func TestSerializableSkew(t *testing.T) {
	f := open(t, needServer(t), Options{Isolation: Serializable})
	f.Insert("a", "b")
	one, two := f.DB.Begin(), f.DB.Begin()
	defer one.Close()
	defer two.Close()
	for _, c := range []struct {
		u             *uow.Unit
		reads, writes string
	}{{one, "a", "b"}, {two, "b", "a"}} {
		_, err := f.Documents.In(c.u).Get(t.Context(), c.reads)
		f.Must(err)
		d, err := f.Documents.In(c.u).Get(t.Context(), c.writes)
		f.Must(err)
		d.Count++
	}
	err := errors.Join(one.Commit(t.Context()), two.Commit(t.Context()))
	if !errors.Is(err, driver.ErrRetryable) {
		t.Errorf("got %v, want ErrRetryable for one of them", err)
	}
}

// TestUnitsDoNotDeadlock has units that change, remove, add and check overlapping
// rows in any order: they conflict, and never wait for each other in a circle.
func TestUnitsDoNotDeadlock(t *testing.T) {
	f := open(t, needServer(t), Options{})
	ids := storetest.Names("a", 12)
	f.Insert(ids...)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 5))
			for range 40 {
				err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error { return f.stir(ctx, u, random, ids) })
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
	r := f.Documents.In(u)
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
			d.Add(1)
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
			f := open(t, needServer(t), o)
			f.Insert("a")
			f.Must(f.Change("a"))
			deleting := f.Tx()
			f.Must(deleting.Flush(t.Context(), &driver.ChangeSet{Writes: []driver.Write{
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
			f.Until("the insert waits", func() bool {
				var n int
				f.Must(f.store.pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'`, f.store.schema).Scan(&n))
				return n > 0
			})
			f.Must(deleting.Commit(t.Context(), &driver.ChangeSet{Unit: "1"}))
			err := <-done
			if errors.Is(err, driver.ErrRetryable) {
				err = f.Tx().Commit(t.Context(), cs)
			}
			f.Must(err)
			rows, err := f.Tx().Get(t.Context(), "documents", []string{"a"})
			f.Must(err)
			if got := fmt.Sprint(rows[0].Version, rows[0].Sequence, cs.Writes[0].Version); got != "4 1 4" {
				t.Errorf("version, sequence and the change set's version are %s, want 4 1 4", got)
			}
		})
	}
}

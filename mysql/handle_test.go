package mysql

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uow-go/uow"
)

// TestPoolStaysHealthy ends units in ways that leave connections in odd states, with
// one connection in the pool, and then demands that it works.
func TestPoolStaysHealthy(t *testing.T) {
	f := open(t, "", Options{MaxConns: 1})
	f.quiet()
	f.Insert("a")
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
			_, err := f.Documents.In(u).Get(ctx, "a")
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
			f.Must(bad(u, "INSERT INTO numbers VALUES (99)")) // must not be committed by itself
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
		"a duplicate": func(_ context.Context, u *uow.Unit) error { return f.Documents.In(u).Add(&document{ID: "a"}) },
	} {
		err := f.DB.Do(t.Context(), fn)
		if err == nil {
			t.Errorf("%s: the unit went well", name)
		}
		if strings.Contains(name, "COMMIT") != errors.Is(err, ErrRolledBack) {
			t.Errorf("%s: got %v", name, err)
		}
		f.Must(f.Change("a"))
		if n := f.store.db.Stats().InUse; n != 0 {
			t.Errorf("%s: %d connections are in use", name, n)
		}
		var n int
		f.Must(f.store.db.QueryRow("SELECT COUNT(*) FROM numbers WHERE @@autocommit = 1").Scan(&n))
		if n != 3 {
			t.Errorf("%s: the table has %d rows, want 3", name, n)
		}
	}
}

func TestNativeAndRepositories(t *testing.T) {
	f := open(t, "", Options{})
	f.Insert("a")
	f.Must(f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		d, err := f.Documents.In(u).Get(ctx, "a")
		f.Must(err)
		d.Add(1)
		f.Must(u.Flush(ctx))
		var n int
		f.Must(Tx(u).QueryRowContext(ctx, `SELECT JSON_VALUE(body, '$.Count') FROM documents WHERE id = ?`, "a").Scan(&n))
		if n != 1 {
			t.Errorf("the unit's own SQL sees %d, want the flushed 1", n)
		}
		for _, query := range []string{"SAVEPOINT mine", "ROLLBACK TO mine"} {
			_, err = Tx(u).ExecContext(ctx, query)
			f.Must(err)
		}
		_, err = Tx(u).ExecContext(ctx, "INSERT INTO uow_state (one) VALUES (1)")
		if code(err) != codeDuplicate {
			t.Errorf("got %v, want a duplicate, after which the unit goes on", err)
		}
		rows, err := Tx(u).QueryContext(ctx, `SELECT lane FROM uow_lanes`)
		f.Must(err)
		if !rows.Next() {
			t.Error("no rows")
		}
		if _, err := Tx(u).ExecContext(ctx, `DO 1`); !errors.Is(err, errBusy) {
			t.Errorf("with rows open: got %v, want errBusy", err)
		}
		return nil // the commit closes them
	}))
	if !f.Has("a") {
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
			errs <- f.DB.Do(context.Background(), func(ctx context.Context, u *uow.Unit) error {
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
				_, _ = Tx(u).ExecContext(ctx, "INSERT INTO numbers VALUES (3, 0)") // must not happen
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
	f.Must(f.store.db.QueryRow("SELECT SUM(v) FROM numbers").Scan(&sum))
	if failed != 1 || sum != 2 {
		t.Errorf("%d units failed, want 1; the sum is %d, want 2", failed, sum)
	}
}

// TestDriverPanics has the driver get an answer to what it wants to prepare that is none,
// on which it panics.
func TestDriverPanics(t *testing.T) {
	p := newProxy(t)
	dsn := newDatabase(t)
	f := open(t, through(t, dsn, p.Address()), Options{MaxConns: 1})
	f.quiet()
	execute(t, f.store, "CREATE TABLE notes (text VARCHAR(20))")
	var asked atomic.Bool
	var answers atomic.Int32
	err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		if _, err := Tx(u).ExecContext(ctx, "INSERT INTO notes VALUES ('a')"); err != nil {
			return err
		}
		p.Watch(func(m packet) verdict {
			if m.client {
				asked.Store(bytes.Contains(m.body, []byte("('b')")))
			} else if asked.Swap(false) {
				answers.Add(1)
				return garbled
			}
			return forward
		})
		return u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
			_, err := Tx(u).ExecContext(ctx, "INSERT INTO notes VALUES ('b')")
			return err
		})
	})
	p.Watch(nil)
	if err == nil || !strings.Contains(err.Error(), "panicked") || answers.Load() != 1 {
		t.Errorf("got %v, want an error that says so; %d answers were garbled", err, answers.Load())
	}
	var n int
	f.Must(f.store.db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM notes").Scan(&n))
	if n != 0 {
		t.Errorf("%d rows of a unit that failed are there", n)
	}
	f.Insert("the store goes on")
}

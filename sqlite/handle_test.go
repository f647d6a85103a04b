package sqlite

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/uow-go/uow"
)

// openNotes opens a database with a table of the user's.
func openNotes(t *testing.T, o Options) (*uow.DB, *Store) {
	t.Helper()
	db, s, _ := openDocuments(t, temporary(t), o)
	script(t, s, `CREATE TABLE notes (n INTEGER UNIQUE)`)
	return db, s
}

func countNotes(t *testing.T, db *uow.DB) (n int) {
	t.Helper()
	err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		return Tx(u).QueryRowContext(ctx, `SELECT count(*) FROM notes`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestHandle(t *testing.T) {
	db, s := openNotes(t, Options{})
	ctx := t.Context()
	err := db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		tx := Tx(u)
		stmt, err := tx.PrepareContext(ctx, `INSERT INTO notes VALUES (?)`)
		if err != nil {
			return err
		}
		for n := range 3 {
			if _, err := stmt.ExecContext(ctx, n); err != nil {
				return err
			}
		}
		rows, err := tx.QueryContext(ctx, `SELECT n FROM notes`)
		if err != nil {
			return err
		}
		rows.Next() // and leaves them, and the statement, open
		var sum int
		if err := tx.QueryRowContext(ctx, `SELECT sum(n) FROM notes`).Scan(&sum); err != nil || sum != 3 {
			return fmt.Errorf("sum %d: %w", sum, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := countNotes(t, db); n != 3 {
		t.Errorf("%d notes, want 3", n)
	}
	if n := inUse(s); n != 0 {
		t.Errorf("%d connections in use, want none", n)
	}
}

func TestHandleAfterTheEnd(t *testing.T) {
	db, _ := openNotes(t, Options{})
	ctx := t.Context()
	u := db.Begin()
	tx := Tx(u)
	if _, err := tx.ExecContext(ctx, `INSERT INTO notes VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	if err := u.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	_, exec := tx.ExecContext(ctx, `INSERT INTO notes VALUES (2)`)
	_, query := tx.QueryContext(ctx, `SELECT 1`)
	_, prepare := tx.PrepareContext(ctx, `SELECT 1`)
	row := tx.QueryRowContext(ctx, `SELECT 1`).Scan(new(int))
	for name, err := range map[string]error{"exec": exec, "query": query, "prepare": prepare, "row": row} {
		if !errors.Is(err, uow.ErrUnitClosed) {
			t.Errorf("%s: got %v, want ErrUnitClosed", name, err)
		}
	}
	if n := countNotes(t, db); n != 0 {
		t.Errorf("%d notes, want none", n)
	}
}

func TestHandleUsedByTwo(t *testing.T) {
	db, s := openNotes(t, Options{})
	release := holdWriter(t, s)
	u := db.Begin()
	defer u.Close()
	first := make(chan error)
	go func() {
		_, err := Tx(u).ExecContext(t.Context(), `INSERT INTO notes VALUES (1)`)
		first <- err
	}()
	waitQueued(t, s, 1)
	if err := Tx(u).QueryRowContext(t.Context(), `SELECT 1`).Scan(new(int)); !errors.Is(err, uow.ErrConcurrentUse) {
		t.Errorf("got %v, want ErrConcurrentUse", err)
	}
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestHandleThatEndsTheTransaction(t *testing.T) {
	for _, end := range []string{"COMMIT", "ROLLBACK", "END; INSERT INTO notes VALUES (7)", "INSERT OR ROLLBACK INTO notes VALUES (1)"} {
		t.Run(end, func(t *testing.T) {
			db, s := openNotes(t, Options{})
			ctx := t.Context()
			u := db.Begin()
			stmt, err := Tx(u).PrepareContext(ctx, `INSERT INTO notes VALUES (3)`)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Tx(u).ExecContext(ctx, `INSERT INTO notes VALUES (1)`); err != nil {
				t.Fatal(err)
			}
			_, _ = Tx(u).ExecContext(ctx, end) // whether it says so or not
			if _, err := Tx(u).ExecContext(ctx, `INSERT INTO notes VALUES (2)`); !errors.Is(err, ErrLost) {
				t.Errorf("next statement: got %v, want ErrLost", err)
			}
			if _, err := stmt.ExecContext(ctx); err == nil {
				t.Error("a statement prepared before still wrote")
			}
			if err := u.Commit(ctx); !errors.Is(err, ErrLost) {
				t.Errorf("commit: got %v, want ErrLost", err)
			}
			if n := countNotes(t, db); n != 0 {
				t.Errorf("%d notes, want none", n)
			}
			if n := inUse(s); n != 0 {
				t.Errorf("%d connections in use, want none", n)
			}
		})
	}
}

func TestHandleInterrupted(t *testing.T) {
	db, s := openNotes(t, Options{})
	u := db.Begin()
	if _, err := Tx(u).ExecContext(t.Context(), `INSERT INTO notes VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Tx(u).ExecContext(ctx, `INSERT INTO notes SELECT value FROM (
		WITH RECURSIVE n(value) AS (SELECT 10 UNION ALL SELECT value + 1 FROM n LIMIT 100000000) SELECT value FROM n)`)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the context's error", err)
	}
	if err := u.Commit(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("commit: got %v, want ErrLost", err)
	}
	if n := countNotes(t, db); n != 0 {
		t.Errorf("%d notes, want none", n)
	}
	if n := inUse(s); n != 0 {
		t.Errorf("%d connections in use, want none", n)
	}
}

func TestSecondSessionWaits(t *testing.T) {
	db, s := openNotes(t, Options{BusyTimeout: 100 * time.Millisecond})
	ctx := t.Context()
	one, two := db.Begin(), db.Begin()
	defer two.Close()
	if _, err := Tx(one).ExecContext(ctx, `INSERT INTO notes VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := Tx(two).ExecContext(short, `INSERT INTO notes VALUES (2)`); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	if _, err := Tx(two).ExecContext(ctx, `INSERT INTO notes VALUES (2)`); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	done := make(chan error)
	go func() {
		_, err := Tx(two).ExecContext(ctx, `INSERT INTO notes VALUES (2)`)
		done <- err
	}()
	waitQueued(t, s, 1)
	if err := one.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after the first was done: %v", err)
	}
	if err := two.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if n := countNotes(t, db); n != 2 {
		t.Errorf("%d notes, want 2", n)
	}
}

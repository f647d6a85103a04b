package sqlunit_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/sqlunit"
	"github.com/uow-go/uow/memory"
)

type note struct{ ID, Text string }

// recorder is a database that keeps what it was told.
type recorder struct {
	told []string
	fail error
}

func (r *recorder) Exec(_ context.Context, _ driver.Tx, query string, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	for _, a := range args {
		query += fmt.Sprintf(" %s=%v", a.Name, a.Value)
	}
	r.told = append(r.told, query)
	return sqldriver.RowsAffected(7), r.fail
}

func (r *recorder) Query(_ context.Context, _ driver.Tx, query string, _ []sqldriver.NamedValue) ([]sqlunit.Result, error) {
	r.told = append(r.told, query)
	one := sqlunit.Result{
		Columns: []sqlunit.Column{
			{Name: "n", DatabaseType: "INT", ScanType: reflect.TypeFor[int64](), HasNullable: true},
			{Name: "s", DatabaseType: "TEXT", Length: 9, HasLength: true},
		},
		Rows: [][]sqldriver.Value{{int64(1), "a"}, {int64(2), nil}},
	}
	two := sqlunit.Result{Columns: []sqlunit.Column{{Name: "d", Precision: 5, Scale: 2, HasDecimal: true}}, Rows: [][]sqldriver.Value{{"1.25"}}}
	return []sqlunit.Result{one, two}, r.fail
}

// fixture is a database of notes, and one of SQL beside it.
type fixture struct {
	*testing.T
	recorder
	db    *uow.DB
	notes *uow.Collection[note]
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, notes: uow.NewCollection[note]("notes")}
	db, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{f.notes}})
	if err != nil {
		t.Fatal(err)
	}
	f.db = db
	t.Cleanup(func() { _ = db.Close() })
	return f
}

func (f *fixture) do(fn func(ctx context.Context, u *uow.Unit, db *sql.DB) error) error {
	return f.db.Do(f.Context(), func(ctx context.Context, u *uow.Unit) error {
		return fn(ctx, u, sqlunit.Open(u, f))
	})
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) wantTold(want ...string) {
	f.Helper()
	if strings.Join(f.told, "; ") != strings.Join(want, "; ") {
		f.Errorf("the database was told %q, want %q", f.told, want)
	}
	f.told = nil
}

// ids returns which notes there are.
func (f *fixture) ids() (ids string) {
	f.Helper()
	f.must(f.db.Do(f.Context(), func(ctx context.Context, u *uow.Unit) error {
		ids = ""
		all, err := f.notes.In(u).Find(ctx, uow.Query{})
		for _, n := range all {
			ids += n.ID
		}
		return err
	}))
	return ids
}

func TestStatements(t *testing.T) {
	f := newFixture(t)
	f.must(f.do(func(ctx context.Context, u *uow.Unit, db *sql.DB) error {
		result, err := db.ExecContext(ctx, "insert", 1, sql.Named("b", "two"))
		f.must(err)
		if n, err := result.RowsAffected(); n != 7 || err != nil {
			t.Errorf("RowsAffected: %d, %v", n, err)
		}
		stmt, err := db.PrepareContext(ctx, "update")
		f.must(err)
		_, err = stmt.ExecContext(ctx, 3)
		f.must(err)
		return stmt.Close()
	}))
	f.wantTold("insert =1 b=two", "update =3")
}

// TestRows reads results while another statement runs, and all that database/sql
// tells of columns.
func TestRows(t *testing.T) {
	f := newFixture(t)
	f.must(f.do(func(ctx context.Context, _ *uow.Unit, db *sql.DB) error {
		rows, err := db.QueryContext(ctx, "select")
		f.must(err)
		defer rows.Close()
		types, err := rows.ColumnTypes()
		f.must(err)
		nullable, known := types[0].Nullable()
		length, _ := types[1].Length()
		if got := fmt.Sprintf("%s %s %s %t %t %d", types[0].Name(), types[0].DatabaseTypeName(), types[0].ScanType(), nullable, known, length); got != "n INT int64 false true 9" {
			t.Errorf("column types: %s", got)
		}
		var got []string
		for rows.Next() {
			var n int
			var s sql.NullString
			f.must(rows.Scan(&n, &s))
			got = append(got, fmt.Sprintf("%d %s %t", n, s.String, s.Valid))
			_, err := db.ExecContext(ctx, "meanwhile")
			f.must(err)
		}
		if !rows.NextResultSet() || !rows.Next() {
			t.Fatal("there is no second result")
		}
		types, err = rows.ColumnTypes()
		f.must(err)
		precision, scale, _ := types[0].DecimalSize()
		var d string
		f.must(rows.Scan(&d))
		got = append(got, fmt.Sprintf("%s %d %d", d, precision, scale))
		if want := "[1 a true 2  false 1.25 5 2]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %v", got, want)
		}
		return rows.Err()
	}))
	f.wantTold("select", "meanwhile", "meanwhile")
}

// TestTransactions: a transaction is a nested unit.
func TestTransactions(t *testing.T) {
	f := newFixture(t)
	f.must(f.do(func(ctx context.Context, u *uow.Unit, db *sql.DB) error {
		for _, id := range []string{"a", "b"} {
			tx, err := db.BeginTx(ctx, nil)
			f.must(err)
			_, err = tx.ExecContext(ctx, "in "+id)
			f.must(err)
			f.must(f.notes.In(u).Add(&note{ID: id}))
			if id == "a" {
				f.must(tx.Commit())
			} else {
				f.must(tx.Rollback())
			}
			if _, err := tx.ExecContext(ctx, "late"); !errors.Is(err, sql.ErrTxDone) {
				t.Errorf("after the transaction: got %v, want ErrTxDone", err)
			}
		}
		return nil
	}))
	f.wantTold("in a", "in b")
	if got := f.ids(); got != "a" {
		t.Errorf("the notes are %q, want a", got)
	}
}

func TestSavepoints(t *testing.T) {
	f := newFixture(t)
	f.must(f.do(func(ctx context.Context, u *uow.Unit, db *sql.DB) error {
		tx, err := db.BeginTx(ctx, nil)
		f.must(err)
		for _, step := range []string{
			"add a", "SAVEPOINT one", "add b", "savepoint two;", "add c", "ROLLBACK TO SAVEPOINT one",
			"add d", "RELEASE SAVEPOINT one", "SAVEPOINT three", "add e", "ROLLBACK TRANSACTION TO three", "add f",
			"SAVEPOINT left_open", "add g",
		} {
			if id, ok := strings.CutPrefix(step, "add "); ok {
				f.must(f.notes.In(u).Add(&note{ID: id}))
				continue
			}
			_, err := tx.ExecContext(ctx, step)
			f.must(err)
		}
		for _, step := range []string{"RELEASE one", "ROLLBACK TO two"} {
			if _, err := tx.ExecContext(ctx, step); err == nil {
				t.Errorf("%s: it went well, without such a savepoint", step)
			}
		}
		return tx.Commit()
	}))
	f.wantTold()
	if got := f.ids(); got != "adfg" {
		t.Errorf("the notes are %q, want adfg", got)
	}
}

func TestRefusedCommands(t *testing.T) {
	f := newFixture(t)
	f.must(f.do(func(ctx context.Context, _ *uow.Unit, db *sql.DB) error {
		for _, query := range []string{"COMMIT", " rollback; ", "END", "BEGIN IMMEDIATE", "START TRANSACTION READ ONLY", "ABORT", "ROLLBACK WORK", "SAVEPOINT x", "RELEASE x"} {
			if _, err := db.ExecContext(ctx, query); err == nil {
				t.Errorf("%s: it was not refused", query)
			}
			if rows, err := db.QueryContext(ctx, query); err == nil {
				_ = rows.Close()
				t.Errorf("%s as a query: it was not refused", query)
			}
		}
		f.wantTold()
		for _, query := range []string{"", "SAVEPOINT", "start", "update x set end = 1", "insert into rollback values (1)"} {
			_, err := db.ExecContext(ctx, query)
			f.must(err)
		}
		for _, o := range []sql.TxOptions{{ReadOnly: true}, {Isolation: sql.LevelSerializable}} {
			if _, err := db.BeginTx(ctx, &o); err == nil {
				t.Errorf("%+v: it was not refused", o)
			}
		}
		return nil
	}))
}

func TestAfterTheEnd(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	u := f.db.Begin()
	db := sqlunit.Open(u, f)
	conn, err := db.Conn(ctx)
	f.must(err)
	stmt, err := conn.PrepareContext(ctx, "prepared")
	f.must(err)
	tx, err := sqlunit.Open(u, f).BeginTx(ctx, nil)
	f.must(err)
	f.must(u.Close())
	_, exec := conn.ExecContext(ctx, "late")
	_, begin := conn.BeginTx(ctx, nil)
	_, prepared := stmt.ExecContext(ctx)
	_, query := tx.QueryContext(ctx, "late")
	for name, err := range map[string]error{"exec": exec, "begin": begin, "statement": prepared, "query": query, "commit": tx.Commit()} {
		if !errors.Is(err, uow.ErrUnitClosed) {
			t.Errorf("%s: got %v, want ErrUnitClosed", name, err)
		}
	}
	if _, err := db.ExecContext(ctx, "late"); err == nil {
		t.Error("the *sql.DB went on")
	}
	if _, err := sqlunit.Open(u, f).ExecContext(ctx, "late"); err == nil {
		t.Error("a *sql.DB of a unit that has ended went well")
	}
	f.wantTold()
}

func TestUsedByTwo(t *testing.T) {
	f := newFixture(t)
	f.must(f.do(func(ctx context.Context, u *uow.Unit, db *sql.DB) error {
		return u.Use(ctx, func(driver.Tx) error {
			_, exec := db.ExecContext(ctx, "x")
			_, begin := db.BeginTx(ctx, nil)
			for name, err := range map[string]error{"exec": exec, "begin": begin, "row": db.QueryRowContext(ctx, "x").Scan()} {
				if !errors.Is(err, uow.ErrConcurrentUse) {
					t.Errorf("%s: got %v, want ErrConcurrentUse", name, err)
				}
			}
			return nil
		})
	}))
	f.wantTold()
}

// TestTransactionLeftOpen: it can be neither committed nor thrown away in silence.
func TestTransactionLeftOpen(t *testing.T) {
	f := newFixture(t)
	err := f.do(func(ctx context.Context, u *uow.Unit, db *sql.DB) error {
		_, err := db.BeginTx(ctx, nil)
		return errors.Join(err, f.notes.In(u).Add(&note{ID: "a"}))
	})
	if !errors.Is(err, uow.ErrNestedOpen) {
		t.Errorf("got %v, want ErrNestedOpen", err)
	}
	if got := f.ids(); got != "" {
		t.Errorf("the notes are %q, want none", got)
	}
}

// TestTransactionEndedTooEarly: it takes the one that it is around along.
func TestTransactionEndedTooEarly(t *testing.T) {
	f := newFixture(t)
	f.must(f.do(func(ctx context.Context, u *uow.Unit, db *sql.DB) error {
		outer, err := db.BeginTx(ctx, nil)
		f.must(err)
		inner, err := db.BeginTx(ctx, nil)
		f.must(err)
		f.must(f.notes.In(u).Add(&note{ID: "a"}))
		if err := outer.Commit(); !errors.Is(err, uow.ErrNestedOpen) {
			t.Errorf("outer: got %v, want ErrNestedOpen", err)
		}
		if _, err := inner.ExecContext(ctx, "x"); !errors.Is(err, uow.ErrUnitClosed) {
			t.Errorf("a statement of the inner one: got %v, want ErrUnitClosed", err)
		}
		if err := inner.Commit(); !errors.Is(err, uow.ErrUnitClosed) {
			t.Errorf("inner: got %v, want ErrUnitClosed", err)
		}
		return f.notes.In(u).Add(&note{ID: "b"})
	}))
	if got := f.ids(); got != "b" {
		t.Errorf("the notes are %q, want b", got)
	}
	f.wantTold()
}

// TestTransactionOnATransaction begins one on a connection that has one.
func TestTransactionOnATransaction(t *testing.T) {
	f := newFixture(t)
	f.must(f.do(func(ctx context.Context, u *uow.Unit, db *sql.DB) error {
		conn, err := db.Conn(ctx)
		f.must(err)
		outer, err := conn.BeginTx(ctx, nil)
		f.must(err)
		inner, err := conn.BeginTx(ctx, nil)
		f.must(err)
		f.must(f.notes.In(u).Add(&note{ID: "a"}))
		f.must(inner.Rollback())
		f.must(f.notes.In(u).Add(&note{ID: "b"}))
		return errors.Join(outer.Commit(), conn.Close())
	}))
	if got := f.ids(); got != "b" {
		t.Errorf("the notes are %q, want b", got)
	}
}

func TestTransactionWhoseContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		err := f.do(func(ctx context.Context, u *uow.Unit, db *sql.DB) error {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := db.BeginTx(short, nil)
			f.must(err)
			<-short.Done()
			synctest.Wait() // database/sql rolls back in a goroutine of its own
			if _, err := db.ExecContext(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a statement after it: got %v, want the context's error", err)
			}
			return nil
		})
		if err == nil {
			t.Error("the unit was committed")
		}
		f.wantTold()
	})
}

// TestNoGoroutineIsLeft fails when one is: the bubble waits for all of them.
func TestNoGoroutineIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for _, result := range []error{nil, errors.New("boom")} {
			err := f.do(func(ctx context.Context, _ *uow.Unit, db *sql.DB) error {
				rows, err := db.QueryContext(ctx, "left open")
				f.must(err)
				rows.Next()
				conn, err := db.Conn(ctx)
				f.must(err)
				tx, err := conn.BeginTx(ctx, nil)
				f.must(err)
				f.must(tx.Commit())
				return result
			})
			if !errors.Is(err, result) {
				t.Errorf("got %v, want %v", err, result)
			}
		}
	})
}

func TestPanic(t *testing.T) {
	f := newFixture(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not go on")
			}
		}()
		_ = f.do(func(ctx context.Context, u *uow.Unit, db *sql.DB) error {
			tx, err := db.BeginTx(ctx, nil)
			f.must(err)
			defer tx.Rollback()
			f.must(f.notes.In(u).Add(&note{ID: "a"}))
			panic("boom")
		})
	}()
	if got := f.ids(); got != "" {
		t.Errorf("the notes are %q, want none", got)
	}
}

// TestBadConnections: database/sql must not run a statement again because of one.
func TestBadConnections(t *testing.T) {
	f := newFixture(t)
	f.fail = fmt.Errorf("gone: %w", sqldriver.ErrBadConn)
	f.must(f.do(func(ctx context.Context, _ *uow.Unit, db *sql.DB) error {
		_, exec := db.ExecContext(ctx, "once")
		_, query := db.QueryContext(ctx, "once too")
		for _, err := range []error{exec, query} {
			if err == nil || errors.Is(err, sqldriver.ErrBadConn) || !strings.Contains(err.Error(), "gone") {
				t.Errorf("got %v", err)
			}
		}
		return nil
	}))
	f.wantTold("once", "once too")
}

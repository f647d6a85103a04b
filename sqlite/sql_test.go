package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/uow-go/uow"
)

const kinds = `CREATE TABLE kinds (i INTEGER PRIMARY KEY, r REAL, t TEXT, b BLOB, d DATETIME, f BOOLEAN, v VARCHAR(9), x DECIMAL(5,2))`

// TestSQLValues compares with what the driver makes of the same values.
func TestSQLValues(t *testing.T) {
	db, s := openNotes(t, Options{})
	script(t, s, kinds)
	theirs, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "theirs.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if _, err := theirs.ExecContext(t.Context(), kinds); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 2, 3, 4, 5, 6, 789000000, time.FixedZone("", 7200))
	var want, got []any
	use := func(ctx context.Context, db *sql.DB) (all []any, err error) {
		result, err := db.ExecContext(ctx, `INSERT INTO kinds VALUES (9, @r, ?2, ?3, ?4, ?5, ?6, ?7), (10, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`,
			sql.Named("r", 1.5), "text", []byte{0, 255}, at, true, sql.NullString{}, "1.25")
		if err != nil {
			return nil, err
		}
		id, err1 := result.LastInsertId()
		n, err2 := result.RowsAffected()
		all = append(all, id, n)
		rows, err := db.QueryContext(ctx, `SELECT *, 1 + 1 AS sum FROM kinds ORDER BY i`)
		if err := errors.Join(err, err1, err2); err != nil {
			return nil, err
		}
		defer rows.Close()
		types, err := rows.ColumnTypes()
		if err != nil {
			return nil, err
		}
		for _, c := range types {
			length, isLong := c.Length()
			precision, scale, isDecimal := c.DecimalSize()
			nullable, known := c.Nullable()
			all = append(all, fmt.Sprint(c.Name(), c.DatabaseTypeName(), c.ScanType(), length, isLong, precision, scale, isDecimal, nullable, known))
		}
		for rows.Next() {
			row := make([]any, len(types))
			into := make([]any, len(types))
			for i := range row {
				into[i] = &row[i]
			}
			if err := rows.Scan(into...); err != nil {
				return nil, err
			}
			all = append(all, row...)
		}
		return all, rows.Err()
	}
	err = db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) (err error) {
		got, err = use(ctx, SQL(u))
		return err
	})
	want, err2 := use(t.Context(), theirs)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestSQLTransactions: what is rolled back leaves no trace, and the rest is committed
// by the unit alone.
func TestSQLTransactions(t *testing.T) {
	db, s := openNotes(t, Options{})
	for _, result := range []error{errors.New("boom"), nil} {
		err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
			own := SQL(u)
			for n := range 4 {
				tx, err := own.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				_, err = tx.ExecContext(ctx, `INSERT INTO notes VALUES (?)`, n)
				if n%2 == 0 {
					err = errors.Join(err, tx.Commit())
				} else {
					err = errors.Join(err, tx.Rollback())
				}
				if err != nil {
					return err
				}
			}
			return result
		})
		want := 2
		if result != nil {
			want = 0
		}
		if n := countNotes(t, db); !errors.Is(err, result) || n != want {
			t.Errorf("%d notes after %v, want %d after %v", n, err, want, result)
		}
	}
	if n := inUse(s); n != 0 {
		t.Errorf("%d connections in use, want none", n)
	}
}

func TestSQLInterrupted(t *testing.T) {
	db, s := openNotes(t, Options{})
	err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err := SQL(u).ExecContext(short, `INSERT INTO notes SELECT value FROM (
			WITH RECURSIVE n(value) AS (SELECT 10 UNION ALL SELECT value + 1 FROM n LIMIT 100000000) SELECT value FROM n)`)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		return nil
	})
	if !errors.Is(err, ErrLost) {
		t.Errorf("the unit: got %v, want ErrLost", err)
	}
	if n := countNotes(t, db); n != 0 || inUse(s) != 0 {
		t.Errorf("%d notes, and %d connections in use, want none", n, inUse(s))
	}
}

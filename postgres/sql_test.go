package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/uow-go/uow"
)

// TestSQLValues compares with what pgx's own package for database/sql makes of the
// same values.
func TestSQLValues(t *testing.T) {
	for name, o := range map[string]Options{"Prepared": {}, "Unprepared": {Statements: Unprepared}} {
		t.Run(name, func(t *testing.T) {
			f := open(t, needServer(t), o)
			theirs := stdlib.OpenDBFromPool(f.store.pool)
			defer theirs.Close()
			f.Must(f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
				for _, query := range []string{
					`SELECT true, 1::smallint, 2::int, 3::bigint, 1.5::real, 2.25::float8, 123456789.000000001::numeric, numeric 'NaN'`,
					`SELECT 'text', 'v'::varchar(9), 'c'::char(3), '\x00ff'::bytea, ''::bytea, uuid '6ba7b810-9dad-11d1-80b4-00c04fd430c8'`,
					`SELECT date '2026-02-03', timestamp '2026-02-03 04:05:06.789', timestamptz '2026-02-03 04:05:06.789+02', time '04:05', interval '1 day'`,
					`SELECT date 'infinity', timestamptz '-infinity'`,
					`SELECT array[1,2], array['a','b c'], array[1.5::numeric], '{"a": 1}'::json, '{"b": [2]}'::jsonb, '<a/>'::xml, inet '10.0.0.1', int4range(1,5)`,
					`SELECT 1::oid, 'pg_class'::regclass, NULL::int, NULL::text, NULL::bytea, NULL::timestamptz, NULL::int[]`,
					`SELECT n, n::text FROM generate_series(1, 3) n`,
					`SELECT 1 WHERE false`,
				} {
					got, want := everything(t, SQL(u), query), everything(t, theirs, query)
					if !reflect.DeepEqual(got, want) {
						t.Errorf("%s:\ngot  %v\nwant %v", query, got, want)
					}
				}
				return nil
			}))
		})
	}
}

// everything is what database/sql says of a query.
func everything(t *testing.T, db *sql.DB, query string) (all []any) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range types {
		length, isLong := c.Length()
		precision, scale, isDecimal := c.DecimalSize()
		all = append(all, fmt.Sprint(c.Name(), c.DatabaseTypeName(), c.ScanType(), length, isLong, precision, scale, isDecimal))
	}
	for rows.Next() {
		row := make([]any, len(types))
		into := make([]any, len(types))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		all = append(all, row...)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

type label string

// TestSQLArguments sends Go values, and gets them back.
func TestSQLArguments(t *testing.T) {
	f := open(t, needServer(t), Options{})
	at := time.Date(2026, 2, 3, 4, 5, 6, 789000, time.UTC)
	word := "word"
	f.Must(f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		row := SQL(u).QueryRowContext(ctx,
			`SELECT $1::text, $2::int, $3::timestamptz, $4::bytea, $5::jsonb, $6::text[], $7::text, $8::text, $9::numeric, $10::text, $11::bool`,
			label("l"), 5, at, []byte{0, 1}, map[string]int{"a": 1}, []string{"x", "y"}, &word, (*string)(nil), "1.10", sql.NullString{}, true)
		var (
			l       label
			n       int
			when    time.Time
			b       []byte
			doc     json.RawMessage
			list    string
			pointer *string
			none    *string
			decimal string
			null    sql.NullString
			yes     bool
		)
		f.Must(row.Scan(&l, &n, &when, &b, &doc, &list, &pointer, &none, &decimal, &null, &yes))
		got := fmt.Sprint(l, n, when.UTC(), string(b), string(doc), list, *pointer, none, decimal, null.Valid, yes)
		if want := fmt.Sprint("l", 5, at, "\x00\x01", `{"a": 1}`, "{x,y}", word, (*string)(nil), "1.10", false, true); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		result, err := SQL(u).ExecContext(ctx, `CREATE TEMP TABLE t AS SELECT generate_series(1, 4)`)
		f.Must(err)
		if n, err := result.RowsAffected(); n != 4 || err != nil {
			t.Errorf("RowsAffected: %d, %v; want 4", n, err)
		}
		if _, err := result.LastInsertId(); err == nil {
			t.Error("LastInsertId: PostgreSQL has none")
		}
		return nil
	}))
}

// TestSQLStatementThatFails: in a transaction it fails alone, and as the server's
// own error.
func TestSQLStatementThatFails(t *testing.T) {
	f := open(t, needServer(t), Options{})
	f.Must(f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		db := SQL(u)
		_, err := db.ExecContext(ctx, `CREATE TABLE `+f.store.schema+`.own (n int PRIMARY KEY)`)
		f.Must(err)
		for _, n := range []int{1, 1, 2} {
			tx, err := db.BeginTx(ctx, nil)
			f.Must(err)
			_, err = tx.ExecContext(ctx, `INSERT INTO `+f.store.schema+`.own VALUES ($1)`, n)
			if err == nil {
				f.Must(tx.Commit())
				continue
			}
			if e, ok := err.(*pgconn.PgError); !ok || e.Code != "23505" { //nolint:errorlint // as libraries do
				t.Errorf("got %v, want the server's error as it is", err)
			}
			f.Must(tx.Rollback())
		}
		return f.Documents.In(u).Add(&document{ID: "a"})
	}))
	var n int
	f.Must(f.store.pool.QueryRow(t.Context(), `SELECT count(*) FROM `+f.store.schema+`.own`).Scan(&n))
	if n != 2 || !f.Has("a") {
		t.Errorf("%d rows, want 2", n)
	}

	err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		_, err := SQL(u).ExecContext(ctx, `INSERT INTO `+f.store.schema+`.own VALUES (1)`)
		if err == nil {
			t.Error("a duplicate was inserted")
		}
		return f.Documents.In(u).Add(&document{ID: "b"})
	})
	if err == nil || f.Has("b") {
		t.Errorf("outside of a transaction the unit should fail; got %v", err)
	}
}

// TestSQLUndoneFlush: what a flush wrote goes with the transaction in which it was,
// and is written again by the commit.
func TestSQLUndoneFlush(t *testing.T) {
	f := open(t, needServer(t), Options{})
	f.Insert("a")
	f.Must(f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		d, err := f.Documents.In(u).Get(ctx, "a")
		f.Must(err)
		d.Add(1)
		tx, err := SQL(u).BeginTx(ctx, nil)
		f.Must(err)
		f.Must(u.Flush(ctx))
		f.Must(tx.Rollback())
		if d.Count != 1 {
			t.Errorf("the count is %d, want what it was before the transaction", d.Count)
		}
		return nil
	}))
	var n int
	f.Must(f.store.pool.QueryRow(t.Context(), `SELECT (body->>'Count')::int FROM `+f.store.schema+`.documents`).Scan(&n))
	if messages, _ := f.Drain(0); n != 1 || len(messages) != 1 {
		t.Errorf("count %d and %d messages, want 1 and 1", n, len(messages))
	}
}

func TestSQLCancelled(t *testing.T) {
	f := open(t, needServer(t), Options{})
	err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err := SQL(u).ExecContext(short, `SELECT pg_sleep(60)`)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		return f.Documents.In(u).Add(&document{ID: "a"})
	})
	if err == nil || f.Has("a") {
		t.Errorf("the unit should fail, since it lost its connection; got %v", err)
	}
	f.Until("all connections are back", func() bool { return f.store.pool.Stat().AcquiredConns() == 0 })
}

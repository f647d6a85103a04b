package example

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/servers"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

// SQLite opens a bank in a file of the test's.
func SQLite(t testing.TB) *Bank {
	t.Helper()
	b := newBank()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "bank.db"), b.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b.DB, b.SQL = db, sqlite.SQL
	return b.fill(t, b.makeReceipts)
}

// Postgres opens a bank in a schema of the test's.
func Postgres(t testing.TB) *Bank {
	t.Helper()
	b := newBank()
	db, err := postgres.Open(t.Context(), newSchema(t), b.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b.DB, b.SQL = db, postgres.SQL
	return b.fill(t, b.makeReceipts)
}

// makeReceipts makes the table of the user's in a unit.
func (b *Bank) makeReceipts(ctx context.Context, u *uow.Unit) error {
	_, err := b.SQL(u).ExecContext(ctx, receipts)
	return err
}

// MySQL opens a bank in a database of the test's. There tables are not made in a unit:
// the server would commit it.
func MySQL(t testing.TB) *Bank {
	t.Helper()
	b := newBank()
	dsn := newDatabase(t)
	runMySQL(t, dsn, receipts)
	db, err := mysql.Open(t.Context(), dsn, b.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b.DB, b.SQL = db, mysql.SQL
	return b.fill(t, func(context.Context, *uow.Unit) error { return nil })
}

// newDatabase makes a database that is dropped when the test is over, and returns its
// dsn.
func newDatabase(t testing.TB) string {
	t.Helper()
	var local servers.Local
	t.Cleanup(local.Close)
	dsn := local.MySQL(t)
	name := fmt.Sprintf("uow_example_%d_%d", os.Getpid(), time.Now().UnixNano())
	runMySQL(t, dsn, "CREATE DATABASE "+name)
	t.Cleanup(func() { runMySQL(t, dsn, "DROP DATABASE "+name) })
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DBName = name
	return cfg.FormatDSN()
}

func runMySQL(t testing.TB, dsn, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := sql.Open("mysql", dsn)
	if err == nil {
		_, err = db.ExecContext(ctx, query)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
}

// newSchema makes a schema that is dropped when the test is over, and returns a dsn
// whose tables are in it.
func newSchema(t testing.TB) string {
	t.Helper()
	var local servers.Local
	t.Cleanup(local.Close)
	dsn := local.Postgres(t)
	name := fmt.Sprintf("uow_example_%d_%d", os.Getpid(), time.Now().UnixNano())
	run(t, t.Context(), dsn, "CREATE SCHEMA "+name)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		run(t, ctx, dsn, "DROP SCHEMA "+name+" CASCADE")
	})
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}

func run(t testing.TB, ctx context.Context, dsn, query string) { //nolint:revive // t comes first in helpers of tests
	t.Helper()
	c, err := pgx.Connect(ctx, dsn)
	if err == nil {
		_, err = c.Exec(ctx, "SET client_min_messages = warning; "+query, pgx.QueryExecModeSimpleProtocol)
		err = errors.Join(err, c.Close(ctx))
	}
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
}

package faultproxy_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow/integration/internal/faultproxy"
	"github.com/uow-go/uow/integration/internal/servers"
)

// TestMySQLMessages inflicts each fault on each packet of a transaction on a MySQL or
// MariaDB, and demands that the row is there exactly where that can be known: when
// the answer to COMMIT has arrived, and when COMMIT has not.
func TestMySQLMessages(t *testing.T) {
	var local servers.Local
	t.Cleanup(local.Close)
	w := newMySQLWorld(t, local.MySQL(t))
	done, lost, kinds := 0, 0, map[string]bool{}
	for _, fault := range []faultproxy.Fault{faultproxy.None, faultproxy.CutBefore, faultproxy.CutWithin, faultproxy.CutAfter, faultproxy.Delay} {
		for at := 1; ; at++ {
			row := fmt.Sprintf("%v %d", fault, at)
			seen, met := 0, faultproxy.Message{}
			sent, answered := false, false // COMMIT was, wholly
			w.proxy.Watch(func(m faultproxy.Message) faultproxy.Fault {
				kinds[m.Kind] = true
				seen++
				passes := seen != at || fault == faultproxy.CutAfter || fault == faultproxy.Delay || fault == faultproxy.None
				commit := m.FromClient && m.Kind == "Query" && m.Text == "COMMIT"
				if !m.FromClient && sent && passes {
					answered = true
				}
				sent = sent || commit && passes
				if seen == at {
					met = m
					return fault
				}
				return faultproxy.None
			})
			err := w.insert(t.Context(), row)
			w.proxy.Watch(nil)
			there := w.has(t, row)
			switch {
			case err == nil && !there, answered && !there, !sent && there, err == nil && !answered:
				t.Errorf("%v at %v: the error is %v, COMMIT was sent: %v, answered: %v; the row is there: %v", fault, met, err, sent, answered, there)
			case err == nil:
				done++
			case there:
				lost++
			}
			if met.Size == 0 || fault == faultproxy.None {
				break
			}
		}
	}
	for _, kind := range []string{"Handshake", "Query", "Prepare", "Execute", "OK", "EOF", "Data"} {
		if !kinds[kind] {
			t.Errorf("no message of kind %s was seen, only %v", kind, kinds)
		}
	}
	if done == 0 || lost == 0 {
		t.Errorf("%d went well, %d were committed and lost their answer: want some of both", done, lost)
	}
}

// mysqlWorld is a database with one table, through a proxy and directly.
type mysqlWorld struct {
	proxy  *faultproxy.Proxy
	direct *sql.DB
	dsn    string // through the proxy
}

func newMySQLWorld(t *testing.T, dsn string) *mysqlWorld {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	w := &mysqlWorld{}
	name := fmt.Sprintf("uow_faultproxy_%d", os.Getpid())
	if w.direct, err = sql.Open("mysql", dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := w.direct.ExecContext(context.Background(), "DROP DATABASE IF EXISTS "+name); err != nil {
			t.Error(err)
		}
		w.direct.Close()
	})
	for _, query := range []string{"CREATE DATABASE " + name, "CREATE TABLE " + name + ".`lines` (text VARCHAR(100) PRIMARY KEY)"} {
		if _, err := w.direct.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	if w.proxy, err = faultproxy.New(faultproxy.MySQL{}, cfg.Addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.proxy.Close)
	cfg.Addr, cfg.DBName, cfg.TLSConfig, cfg.Logger = w.proxy.Address(), name, "false", &mysql.NopLogger{}
	w.dsn = cfg.FormatDSN()
	if w.direct, err = reopen(w.direct, dsn, name); err != nil {
		t.Fatal(err)
	}
	return w
}

func reopen(old *sql.DB, dsn, name string) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	cfg.DBName = name
	old.Close()
	return sql.Open("mysql", cfg.FormatDSN())
}

// insert adds a row in a transaction, on a connection of its own.
func (w *mysqlWorld) insert(ctx context.Context, row string) error {
	db, err := sql.Open("mysql", w.dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM `lines` WHERE text = ?", row).Scan(&n); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO `lines` VALUES (?)", row); err != nil {
		return err
	}
	return tx.Commit()
}

// has looks for a row, and waits for a transaction that has inserted it and is not
// finished.
func (w *mysqlWorld) has(t *testing.T, row string) bool {
	t.Helper()
	var n int
	err := w.direct.QueryRowContext(t.Context(), "SELECT count(*) FROM `lines` WHERE text = ? FOR UPDATE", row).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n == 1
}

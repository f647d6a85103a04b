package operations_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/admin"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

// The exit codes of the command, as docs/operations.md has them.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitNothing
	exitRefused
)

// program is the built command uow.
var program string

// build builds it.
func build() (remove func(), err error) {
	dir, err := os.MkdirTemp("", "uow-command-")
	if err != nil {
		return nil, err
	}
	program = filepath.Join(dir, "uow")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", program, "github.com/uow-go/uow/cmd/uow").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return func() { _ = os.RemoveAll(dir) }, err
}

// typed runs the command line as a person types it, and demands the exit code.
func typed(t *testing.T, code int, env string, args ...string) (out, errs string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "USER=ann", "SUDO_USER=", env)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("uow %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, stdout.String(), stderr.String())
	}
	return stdout.String(), stderr.String()
}

func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in:\n%s", part, text)
		}
	}
}

// fill makes four messages of which the cursor default has delivered the first, parked
// the second, and has one waiting behind it; and a mark.
func fill(t *testing.T, db *uow.DB, records *inbox.Records) {
	t.Helper()
	defer db.Close()
	err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		for i, key := range []string{"a", "b", "b", "c"} {
			m := outbox.Message{ID: fmt.Sprint("m", i+1), Key: key, Topic: "orders", Type: "Placed", Payload: []byte("hello \x1b[31m"), Headers: map[string]string{"trace": "xyz"}}
			if err := outbox.Append(u, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	log, err := outbox.Of(db)
	if err != nil {
		t.Fatal(err)
	}
	messages, _, err := log.Scan(t.Context(), outbox.Query{Limit: 10})
	if err != nil || len(messages) != 4 {
		t.Fatal(len(messages), err)
	}
	lease, err := log.Acquire(t.Context(), outbox.Claim{Cursor: "default", Owner: "relay-1", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	err = log.Settle(t.Context(), lease, outbox.Settlement{Position: messages[2].Position, Hold: []outbox.Hold{
		{Position: messages[1].Position, Key: "b", State: outbox.Parked, Attempts: 7, Reason: "no such\x1b[2J customer", Since: time.Now()},
		{Position: messages[2].Position, Key: "b", State: outbox.Waiting, Since: time.Now()},
	}})
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.New(db, records, inbox.Config{Consumer: "mailer", Order: inbox.ReportDisorder})
	if err != nil {
		t.Fatal(err)
	}
	m := inbox.Message{Source: "shop", ID: "m1", Stream: "orders/7", Sequence: 3}
	if _, err := in.Handle(t.Context(), m, func(context.Context, *uow.Unit) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// operate is what an operator types when messages are parked.
func operate(t *testing.T, env string, more ...string) {
	do := func(code int, line string) (out, errs string) {
		t.Helper()
		return typed(t, code, env, append(strings.Fields(line), more...)...)
	}
	out, _ := do(exitOK, "outbox stats")
	has(t, out, "has 4 messages", "CURSOR", "default", "relay-1")
	out, _ = do(exitOK, "outbox ls")
	has(t, out, "m1", "delivered", "parked", "waiting", "pending", "no such\uFFFD[2J customer")
	out, _ = do(exitOK, "outbox ls --state parked --json")
	var page admin.Page
	if err := json.Unmarshal([]byte(out), &page); err != nil || len(page.Messages) != 1 || page.Messages[0].ID != "m2" || page.Messages[0].At.Attempts != 7 {
		t.Errorf("%s: %v", out, err)
	}
	out, _ = do(exitOK, "outbox show m2")
	has(t, out, "header trace", "xyz", "parked since", "7 attempts", "hello \uFFFD[31m")
	do(exitNothing, "outbox show m9")
	do(exitNothing, "outbox show 99999")

	out, _ = do(exitOK, "outbox redrive --key b --dry-run")
	has(t, out, "Would redrive 1 message")
	_, errs := do(exitRefused, "outbox redrive --key b")
	has(t, errs, "--yes")
	do(exitUsage, "outbox redrive --yes")
	do(exitNothing, "outbox redrive --key z --yes")
	do(exitNothing, "outbox redrive --key b --cursor nobody --yes")
	out, errs = do(exitOK, "outbox redrive --key b --yes")
	has(t, out, "redrive: 1 of 1 message changed")
	has(t, errs, "actor=ann", "keys=[b]")
	out, _ = do(exitOK, "outbox park --id m2 --yes --reason by-hand --actor bob")
	has(t, out, "park: 1 of 1")
	out, _ = do(exitOK, "outbox show m2")
	has(t, out, "by-hand")
	out, _ = do(exitOK, "outbox discard --all --state parked,waiting --yes")
	has(t, out, "discard: 2 of 2")
	out, _ = do(exitOK, "outbox replay --since 1h --before 2100-01-01 --rate 100 --yes")
	has(t, out, "replay: 3 of 3")
	out, _ = do(exitOK, "outbox ls --state waiting")
	has(t, out, "m1", "m2", "m3")

	out, _ = do(exitOK, "inbox ls --consumer mailer")
	has(t, out, "mailer", "shop", "m1", "1 mark in all, and 1 stream")
	out, _ = do(exitOK, "inbox streams --consumer mailer")
	has(t, out, "orders/7", "3")

	_, errs = do(exitUsage, "outbox drop-cursor default --yes")
	has(t, errs, "a relay has the cursor")
	do(exitRefused, "outbox drop-cursor default --force")
	do(exitOK, "outbox drop-cursor default --force --yes")
	out, _ = do(exitOK, "outbox ls")
	has(t, out, "m4")
}

func TestCommandOnSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	records := inbox.NewRecords()
	db, err := sqlite.Open(t.Context(), path, uow.Config{Collections: records.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db, records)
	operate(t, "", "--store", path)
	out, _ := typed(t, exitOK, "UOW_STORE=sqlite://"+path, "outbox", "stats", "--json")
	var stats admin.Stats
	if err := json.Unmarshal([]byte(out), &stats); err != nil || stats.Messages != 4 {
		t.Errorf("%s: %v", out, err)
	}
}

func TestCommandOnPostgreSQL(t *testing.T) {
	dsn, schema := local.Postgres(t), "uow_command_"+strings.ToLower(rand.Text()[:10])
	records := inbox.NewRecords()
	db, err := postgres.Options{Schema: schema, MaxConns: 4}.Open(t.Context(), dsn, uow.Config{Collections: records.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { execute(t, dsn, "DROP SCHEMA "+schema+" CASCADE") })
	fill(t, db, records)

	open, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close(context.Background())
	for _, statement := range []string{"SET application_name = 'the culprit'", "BEGIN", "LOCK TABLE " + schema + ".uow_outbox IN ROW EXCLUSIVE MODE"} {
		if _, err := open.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := typed(t, exitOK, "UOW_STORE="+dsn, "outbox", "stats", "--schema", schema)
	has(t, out, "the culprit", "idle in transaction", fmt.Sprint(open.PgConn().PID()))
	if _, err := open.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	operate(t, "UOW_STORE="+dsn, "--schema", schema)
}

// TestCommandOnMySQL is on MariaDB or MySQL.
func TestCommandOnMySQL(t *testing.T) {
	name := "uow_command_" + strings.ToLower(rand.Text()[:10])
	cfg, err := driver.ParseDSN(local.MySQL(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.DBName = ""
	server, err := sql.Open("mysql", cfg.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := server.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := server.ExecContext(context.Background(), "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	}()
	cfg.DBName = name
	at := url.URL{Scheme: "mysql", User: url.UserPassword(cfg.User, cfg.Passwd), Host: cfg.Addr, Path: "/" + name}
	store := "UOW_STORE=" + at.String()
	_, errs := typed(t, exitFailed, store, "outbox", "stats")
	has(t, errs, "the database has not an outbox of this version")
	records := inbox.NewRecords()
	db, err := mysql.Open(t.Context(), cfg.FormatDSN(), uow.Config{Collections: records.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db, records)
	operate(t, store)
}

func execute(t *testing.T, dsn, statement string) {
	t.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err == nil {
		_, err = c.Exec(context.Background(), statement)
		_ = c.Close(context.Background())
	}
	if err != nil {
		t.Error(err)
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/admin"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

// program is the built command; empty when it could not be built.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "uow-command-")
	if err == nil {
		program = filepath.Join(dir, "uow")
		if runtime.GOOS == "windows" {
			program += ".exe"
		}
		var out []byte
		if out, err = exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
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

func TestSQLite(t *testing.T) {
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

func TestPostgreSQL(t *testing.T) {
	dsn, schema := needPostgres(t), "uow_command_"+strings.ToLower(rand.Text()[:10])
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

// TestMySQL uses the server at 127.0.0.1:3306, of MariaDB or MySQL, as root.
func TestMySQL(t *testing.T) {
	name := "uow_command_" + strings.ToLower(rand.Text()[:10])
	server, err := sql.Open("mysql", "root@tcp(127.0.0.1:3306)/")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := server.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		if os.Getenv("REQUIRE_SERVICES") == "1" {
			t.Fatal("no MySQL: ", err)
		}
		t.Skip("no MySQL: start one at 127.0.0.1:3306, with root and no password: ", err)
	}
	defer func() {
		if _, err := server.ExecContext(context.Background(), "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	}()
	store := "UOW_STORE=mysql://root@127.0.0.1/" + name
	_, errs := typed(t, exitFailed, store, "outbox", "stats")
	has(t, errs, "the database has not an outbox of this version")
	records := inbox.NewRecords()
	db, err := mysql.Open(t.Context(), "root@tcp(127.0.0.1:3306)/"+name, uow.Config{Collections: records.Collections()})
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

// needPostgres returns the server of POSTGRES_URL, or the one at 127.0.0.1:5432.
func needPostgres(t *testing.T) string {
	t.Helper()
	candidates := []string{os.Getenv("POSTGRES_URL")}
	if candidates[0] == "" {
		candidates = []string{"postgres://postgres@127.0.0.1:5432/test?sslmode=disable", "postgres://root@127.0.0.1:5432/test?sslmode=disable"}
	}
	var why error
	for _, dsn := range candidates {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		c, err := pgx.Connect(ctx, dsn)
		if err == nil {
			err = c.Close(ctx)
		}
		cancel()
		if err == nil {
			return dsn
		}
		why = err
	}
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatal("no PostgreSQL: ", why)
	}
	t.Skip("no PostgreSQL: set POSTGRES_URL, or start one at 127.0.0.1:5432: ", why)
	return ""
}

func TestWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign.db")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil { // an empty file is a database of SQLite
		t.Fatal(err)
	}
	_, errs := typed(t, exitFailed, "", "outbox", "stats", "--store", foreign)
	has(t, errs, "the database has not an outbox of this version, and this command makes nothing")
	missing := filepath.Join(dir, "missing.db")
	_, errs = typed(t, exitFailed, "", "outbox", "stats", "--store", missing)
	has(t, errs, "is no database file")
	if _, err := os.Stat(missing); err == nil {
		t.Error("the file was made")
	}
	path := filepath.Join(dir, "noinbox.db")
	db, err := sqlite.Open(t.Context(), path, uow.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	_, errs = typed(t, exitFailed, "", "inbox", "ls", "--store", path)
	has(t, errs, "and inboxes, and this command makes nothing")
}

func TestPasswordsAreNotPrinted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := listener.Addr().String()
	_ = listener.Close()
	for _, scheme := range []string{"postgres", "mysql"} {
		u := url.URL{Scheme: scheme, User: url.UserPassword("ann", "s3cr@t/x"), Host: free, Path: "/shop"}
		out, errs := typed(t, exitFailed, "UOW_STORE="+u.String(), "outbox", "stats")
		for _, secret := range []string{"s3cr@t/x", "s3cr%40t"} {
			if strings.Contains(out+errs, secret) {
				t.Errorf("%s: the password is in %s%s", scheme, out, errs)
			}
		}
	}
	out, errs := typed(t, exitUsage, "UOW_STORE=mysql://ann:s3cret@[broken/shop", "outbox", "stats")
	if strings.Contains(out+errs, "s3cret") {
		t.Errorf("the password is in %s%s", out, errs)
	}
}

func TestHelp(t *testing.T) {
	golden, err := os.ReadFile("testdata/help.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"help"}, {"--help"}, {"outbox", "ls", "--help"}} {
		if out, _ := typed(t, exitOK, "", args...); out != string(golden) {
			t.Errorf("uow %v prints\n%s\nwant testdata/help.txt", args, out)
		}
	}
	for _, line := range strings.Split(string(golden), "\n") {
		if len(line) > 84 {
			t.Errorf("a line is longer than a terminal: %q", line)
		}
	}
	for _, line := range []string{"nonsense", "outbox", "outbox frobnicate", "outbox ls --frob", "outbox ls extra", "outbox show", "outbox stats --rate 3",
		"outbox ls --since yesterday", "outbox ls --position x", "schema", "schema oracle", "schema sqlite --version 99", "inbox streams"} {
		_, errs := typed(t, exitUsage, "UOW_STORE=/nowhere", strings.Fields(line)...)
		has(t, errs, "Run uow help.")
	}
	_, errs := typed(t, exitUsage, "UOW_STORE=", "outbox", "ls")
	has(t, errs, "which database?")
}

func TestSchema(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		out, _ := typed(t, exitOK, "", "schema", kind)
		has(t, out, "uow_outbox_cursor", "uow_outbox_held")
	}
}

func TestAPersonIsAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	records := inbox.NewRecords()
	db, err := sqlite.Open(t.Context(), path, uow.Config{Collections: records.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db, records)
	for _, say := range []struct {
		answer string
		code   int
	}{{"", exitRefused}, {"n\n", exitRefused}, {"why\n", exitRefused}, {"y\n", exitOK}} {
		var out, errs bytes.Buffer
		c := &command{in: strings.NewReader(say.answer), out: &out, err: &errs, env: func(string) string { return "" }, terminal: true}
		if code := c.run(t.Context(), []string{"outbox", "redrive", "--all", "--store", path}); code != say.code {
			t.Errorf("after the answer %q the exit code is %d, want %d: %s", say.answer, code, say.code, errs.String())
		}
		has(t, errs.String(), "Redrive 1 message at the cursor default? [y/N]")
	}
}

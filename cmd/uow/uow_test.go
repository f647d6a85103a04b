package main

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/sqlite"
)

// typed runs a command line, and demands the exit code.
func typed(t *testing.T, code int, env string, args ...string) (out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := &command{in: strings.NewReader(""), out: &stdout, err: &stderr, env: func(name string) string {
		value, _ := strings.CutPrefix(env, name+"=")
		if value == env {
			return ""
		}
		return value
	}}
	if got := c.run(t.Context(), args); got != code {
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
	park(t, path)
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

func TestAKeyIsStopped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	message := outbox.Message{Topic: "t", Type: "x", Key: "orders/7"}
	settled(t, path, []outbox.Message{message, message})
	store := "UOW_STORE=" + path
	stop := []string{"outbox", "park", "--key", "orders/7", "--state", "delivered", "--reason", "ticket 12"}
	out, _ := typed(t, exitOK, store, append(stop, "--dry-run")...)
	has(t, out, "Would park 1 message at the cursor default, positions 2.")
	out, _ = typed(t, exitOK, store, append(stop, "--yes")...)
	has(t, out, "park: 1 of 1 message changed at the cursor default, positions 2.")
	out, _ = typed(t, exitOK, store, "outbox", "show", "2")
	has(t, out, "parked", "ticket 12")
	out, _ = typed(t, exitOK, store, "outbox", "discard", "--position", "2", "--yes")
	has(t, out, "discard: 1 of 1 message changed")
	_, errs := typed(t, exitUsage, store, "outbox", "park", "--all", "--state", "delivered", "--yes")
	has(t, errs, "which must be named")
}

// park makes a database with a message that is parked at the cursor default.
func park(t *testing.T, path string) {
	t.Helper()
	settled(t, path, []outbox.Message{{Topic: "t", Type: "x"}}, outbox.Hold{Position: 1, State: outbox.Parked})
}

// settled makes a database with messages that the cursor default has delivered, or holds.
func settled(t *testing.T, path string, messages []outbox.Message, hold ...outbox.Hold) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, uow.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	log, err := outbox.Of(db)
	if err == nil {
		err = db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
			return outbox.Append(u, messages...)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	lease, err := log.Acquire(t.Context(), outbox.Claim{Cursor: "default", Owner: "me", Force: true})
	if err == nil {
		err = log.Settle(t.Context(), lease, outbox.Settlement{Position: int64(len(messages)), Hold: hold})
	}
	if err != nil {
		t.Fatal(err)
	}
}

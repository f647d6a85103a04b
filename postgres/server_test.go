package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The tests use the server of POSTGRES_URL (or UOW_POSTGRES); else one that listens
// at 127.0.0.1:5432; else one that they start from the binaries of an installed
// PostgreSQL. Where there is none they are skipped, or fail with REQUIRE_SERVICES=1.

var server string // the dsn, set by TestMain; empty: none

var whyNone error

func TestMain(m *testing.M) {
	var stop func()
	server, stop, whyNone = findServer()
	code := m.Run()
	stop()
	os.Exit(code)
}

// needServer returns the dsn.
func needServer(t testing.TB) string {
	t.Helper()
	if server != "" {
		return server
	}
	const how = "no PostgreSQL: set POSTGRES_URL, start one at 127.0.0.1:5432, or install its server (%v)"
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatalf(how, whyNone)
	}
	t.Skipf(how, whyNone)
	return ""
}

func findServer() (dsn string, stop func(), err error) {
	stop = func() {}
	for _, name := range []string{"POSTGRES_URL", "UOW_POSTGRES"} {
		if dsn := os.Getenv(name); dsn != "" {
			return dsn, stop, nil
		}
	}
	for _, name := range []string{"postgres", "root"} {
		dsn := "postgres://" + name + "@127.0.0.1:5432/test?sslmode=disable"
		if reachable(dsn) == nil {
			return dsn, stop, nil
		}
	}
	return startServer()
}

func reachable(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// program finds a program of PostgreSQL's server, the newest where there are several.
func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", fmt.Errorf("there is no %s", name)
	}
	return found[len(found)-1], nil
}

// startServer makes a database in a temporary directory and starts a server on it.
// A server does not run as root, and becomes somebody else then.
func startServer() (dsn string, stop func(), err error) {
	stop = func() {}
	initdb, err := program("initdb")
	if err != nil {
		return "", stop, err
	}
	postgres, err := program("postgres")
	if err != nil {
		return "", stop, err
	}
	dir, err := os.MkdirTemp("", "uow-postgres-")
	if err != nil {
		return "", stop, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	attributes, err := unprivileged(dir)
	if err != nil {
		remove()
		return "", stop, err
	}
	data := filepath.Join(dir, "data")
	prepare := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
	prepare.SysProcAttr, prepare.Dir = attributes, dir
	if out, err := prepare.CombinedOutput(); err != nil {
		remove()
		return "", stop, fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		remove()
		return "", stop, err
	}
	run := exec.Command(postgres, "-D", data, "-h", "127.0.0.1", "-p", port, "-k", dir)
	run.SysProcAttr, run.Dir = attributes, dir
	if err := run.Start(); err != nil {
		remove()
		return "", stop, err
	}
	exited := make(chan error, 1)
	go func() { exited <- run.Wait() }()
	end := func() {
		_ = run.Process.Signal(syscall.SIGINT)
		<-exited
		remove()
	}
	dsn = "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable"
	for range 100 {
		if reachable(dsn) == nil {
			return dsn, end, nil
		}
		select {
		case err := <-exited:
			remove()
			return "", stop, fmt.Errorf("postgres: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	end()
	return "", stop, errors.New("the server that was started does not answer")
}

func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
			return nil, err
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, errors.New("a server does not run as root, and there is no user postgres or nobody")
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

var schemas atomic.Int64

// newSchema returns a name that no other test has. The schema is dropped when the
// test is over.
func newSchema(t testing.TB) string {
	t.Helper()
	dsn := needServer(t)
	name := fmt.Sprintf("uow_test_%d_%d", os.Getpid(), schemas.Add(1))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		c, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Errorf("drop schema %s: %v", name, err)
			return
		}
		defer c.Close(ctx)
		if _, err := c.Exec(ctx, "SET client_min_messages = warning; DROP SCHEMA IF EXISTS "+name+" CASCADE", pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Errorf("drop schema %s: %v", name, err)
		}
	})
	return name
}

// address returns where the server listens.
func address(t testing.TB) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(needServer(t))
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
}

// through returns the dsn with another address.
func through(t testing.TB, address string) string {
	t.Helper()
	dsn := needServer(t)
	if !strings.Contains(dsn, "://") {
		host, port, _ := net.SplitHostPort(address)
		return dsn + " host=" + host + " port=" + port
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = address
	return u.String()
}

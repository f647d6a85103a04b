package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// The tests use the server of MYSQL_DSN (or UOW_MYSQL), whose user may create
// databases; else one that listens at 127.0.0.1:3306 and lets root in without a
// password; else one that they start from the binaries of an installed MariaDB. Where
// there is none they are skipped, or fail with REQUIRE_SERVICES=1.

var server string // the dsn, set by TestMain; empty: none

var whyNone error

func TestMain(m *testing.M) {
	var stop func()
	server, stop, whyNone = findServer()
	code := m.Run()
	stop()
	os.Exit(code)
}

// needServer returns the dsn of a server, without a database.
func needServer(t testing.TB) string {
	t.Helper()
	if server != "" {
		return server
	}
	const how = "no MySQL or MariaDB: set MYSQL_DSN, start one at 127.0.0.1:3306, or install mariadb-server (%v)"
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatalf(how, whyNone)
	}
	t.Skipf(how, whyNone)
	return ""
}

func findServer() (dsn string, stop func(), err error) {
	stop = func() {}
	for _, name := range []string{"MYSQL_DSN", "UOW_MYSQL"} {
		if dsn := os.Getenv(name); dsn != "" {
			return dsn, stop, nil
		}
	}
	const local = "root@tcp(127.0.0.1:3306)/"
	if reachable(local) == nil {
		return local, stop, nil
	}
	return startServer()
}

func reachable(dsn string) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return db.PingContext(ctx)
}

// startServer makes a database in a temporary directory and starts a server on it.
func startServer() (dsn string, stop func(), err error) {
	stop = func() {}
	install, err := program("mariadb-install-db")
	if err != nil {
		return "", stop, err
	}
	mariadbd, err := program("mariadbd")
	if err != nil {
		return "", stop, err
	}
	dir, err := os.MkdirTemp("", "uow-mysql-")
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
	prepare := exec.Command(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	prepare.SysProcAttr, prepare.Dir = attributes, dir
	if out, err := prepare.CombinedOutput(); err != nil {
		remove()
		return "", stop, fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		remove()
		return "", stop, err
	}
	run := exec.Command(mariadbd, "--no-defaults", "--datadir="+data, "--bind-address=127.0.0.1", "--port="+port,
		"--socket="+filepath.Join(dir, "socket"), "--pid-file="+filepath.Join(dir, "pid"), "--innodb-flush-log-at-trx-commit=0")
	run.SysProcAttr, run.Dir = attributes, dir
	if err := run.Start(); err != nil {
		remove()
		return "", stop, err
	}
	exited := make(chan error, 1)
	go func() { exited <- run.Wait() }()
	end := func() {
		_ = run.Process.Signal(syscall.SIGTERM)
		<-exited
		remove()
	}
	dsn = "root@tcp(127.0.0.1:" + port + ")/"
	for range 200 {
		if reachable(dsn) == nil {
			return dsn, end, nil
		}
		select {
		case err := <-exited:
			remove()
			return "", stop, fmt.Errorf("mariadbd: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	end()
	return "", stop, errors.New("the server that was started does not answer")
}

func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/usr/libexec/", "/usr/local/sbin/"} {
		if _, err := os.Stat(dir + name); err == nil {
			return dir + name, nil
		}
	}
	return "", fmt.Errorf("there is no %s", name)
}

// unprivileged lets a server run as somebody else than root, which it refuses.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"mysql", "nobody"} {
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
	return nil, errors.New("a server does not run as root, and there is no user mysql or nobody")
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

var databases atomic.Int64

// newDatabase makes a database that no other test has, and returns its dsn. It is
// dropped when the test is over.
func newDatabase(t testing.TB) string {
	t.Helper()
	cfg, err := mysql.ParseDSN(needServer(t))
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("uow_test_%d_%d", os.Getpid(), databases.Add(1))
	admin(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { admin(t, "DROP DATABASE IF EXISTS "+name) })
	cfg.DBName = name
	return cfg.FormatDSN()
}

// admin runs a statement outside of any store.
func admin(t testing.TB, query string) {
	t.Helper()
	db, err := sql.Open("mysql", server)
	if err == nil {
		defer db.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err = db.ExecContext(ctx, query)
	}
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
}

// address returns where the server listens.
func address(t testing.TB) string {
	t.Helper()
	cfg, err := mysql.ParseDSN(needServer(t))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Net != "tcp" {
		t.Skipf("the server is not reached by TCP but by %s, which the proxy does not know", cfg.Net)
	}
	return cfg.Addr
}

// through returns the dsn with another address.
func through(t testing.TB, dsn, address string) string {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Addr = address
	return cfg.FormatDSN()
}

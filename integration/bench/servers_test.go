package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests use the servers that the command finds; else they start their own from
// installed binaries. Where there are none they are skipped, or fail with
// REQUIRE_SERVICES=1.

var (
	postgresServer = &server{find: FindPostgres, start: startPostgres}
	mysqlServer    = &server{find: FindMySQL, start: startMySQL}
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgresServer.stop()
	mysqlServer.stop()
	os.Exit(code)
}

func needPostgres(t testing.TB) string { t.Helper(); return postgresServer.need(t) }
func needMySQL(t testing.TB) string    { t.Helper(); return mysqlServer.need(t) }

// server is found or started when a test first needs it.
type server struct {
	find  func(context.Context) (dsn string, err error)
	start func(*server) (dsn string, err error)

	once sync.Once
	dsn  string
	err  error
	ends []func() // what stop does, last first
}

func (s *server) need(t testing.TB) string {
	t.Helper()
	s.once.Do(func() {
		if s.dsn, s.err = s.find(context.Background()); s.err == nil {
			return
		}
		dsn, err := s.start(s)
		s.dsn, s.err = dsn, errors.Join(s.err, err)
		if err == nil {
			s.err = nil
		}
	})
	if s.err != nil {
		if os.Getenv("REQUIRE_SERVICES") == "1" {
			t.Fatalf("%v; or install its server", s.err)
		}
		t.Skipf("%v; or install its server", s.err)
	}
	return s.dsn
}

func (s *server) stop() {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i]()
	}
}

func startPostgres(s *server) (dsn string, err error) {
	dir, attributes, err := s.folder("postgres", "nobody")
	if err != nil {
		return "", err
	}
	data, port := filepath.Join(dir, "data"), freePort()
	if err := s.command(dir, attributes, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync").Run(); err != nil {
		return "", fmt.Errorf("initdb: %w", err)
	}
	dsn = "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable"
	return dsn, s.serve(s.command(dir, attributes, "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", dir),
		func(ctx context.Context) error { _, err := DescribePostgres(ctx, dsn); return err })
}

func startMySQL(s *server) (dsn string, err error) {
	dir, attributes, err := s.folder("mysql", "nobody")
	if err != nil {
		return "", err
	}
	data, port := filepath.Join(dir, "data"), freePort()
	if err := s.command(dir, attributes, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db").Run(); err != nil {
		return "", fmt.Errorf("mariadb-install-db: %w", err)
	}
	dsn = "root@tcp(127.0.0.1:" + port + ")/"
	return dsn, s.serve(s.command(dir, attributes, "mariadbd", "--no-defaults", "--datadir="+data, "--bind-address=127.0.0.1",
		"--port="+port, "--socket="+filepath.Join(dir, "socket"), "--innodb-flush-log-at-trx-commit=0"),
		func(ctx context.Context) error { _, err := DescribeMySQL(ctx, dsn); return err })
}

// folder makes a folder for somebody other than root, as whom servers do not run.
func (s *server) folder(users ...string) (dir string, as *syscall.SysProcAttr, err error) {
	dir, err = os.MkdirTemp("", "uow-bench-")
	if err != nil {
		return "", nil, err
	}
	s.ends = append(s.ends, func() { _ = os.RemoveAll(dir) })
	if os.Getuid() != 0 {
		return dir, nil, nil
	}
	for _, name := range users {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return dir, as, errors.Join(err1, err2, os.Chown(dir, uid, gid))
	}
	return "", nil, fmt.Errorf("a server does not run as root, and there is none of the users %q", users)
}

// command finds a program in the path, or where Debian puts those of servers.
func (s *server) command(dir string, as *syscall.SysProcAttr, name string, args ...string) *exec.Cmd {
	path := name
	if _, err := exec.LookPath(name); err != nil {
		for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/sbin/"} {
			if found, _ := filepath.Glob(pattern + name); len(found) > 0 {
				path = found[len(found)-1]
			}
		}
	}
	c := exec.Command(path, args...)
	c.Dir, c.SysProcAttr = dir, as
	return c
}

// serve runs a server until stop, and waits until it answers.
func (s *server) serve(c *exec.Cmd, ask func(context.Context) error) error {
	if err := c.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- c.Wait() }()
	var err error
	for range 200 {
		if err = ask(context.Background()); err == nil {
			break
		}
		select {
		case ended := <-exited:
			return errors.Join(errors.New(c.Path+" ended"), ended)
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.ends = append(s.ends, func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		<-exited
	})
	return err
}

func freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "0"
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

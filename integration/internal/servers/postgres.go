package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a private PostgreSQL server in a temporary directory. One that is
// started as root runs as another user.
type Postgres struct {
	dir     string // everything of it
	port    string
	user    *syscall.SysProcAttr
	process *exec.Cmd
	exited  chan struct{}
	out     bytes.Buffer
}

// StartPostgres makes a database and starts a server on it. Settings are of the form
// name=value.
func StartPostgres(settings ...string) (*Postgres, error) {
	p, err := newPostgres()
	if err != nil {
		return nil, err
	}
	if err := p.command("initdb", "-D", p.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"); err != nil {
		p.Remove()
		return nil, err
	}
	if err := p.start(settings); err != nil {
		p.Remove()
		return nil, err
	}
	return p, nil
}

// StartStandby copies a server that runs, and starts a hot standby that follows it.
// It connects to the address, which may be a proxy's.
func (p *Postgres) StartStandby(address string, settings ...string) (*Postgres, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	s, err := newPostgres()
	if err != nil {
		return nil, err
	}
	primary := "host=" + host + " port=" + port + " user=postgres gssencmode=disable sslmode=disable"
	if err := s.command("pg_basebackup", "-D", s.data(), "-d", primary, "-R", "-X", "stream", "-c", "fast", "--no-sync"); err != nil {
		s.Remove()
		return nil, err
	}
	if err := s.start(settings); err != nil {
		s.Remove()
		return nil, err
	}
	return s, nil
}

// DSN returns the URL of the database postgres.
func (p *Postgres) DSN() string {
	return "postgres://postgres@" + p.Address() + "/postgres?sslmode=disable"
}

// Address returns where the server listens.
func (p *Postgres) Address() string { return "127.0.0.1:" + p.port }

// Promote makes a standby a primary, and returns when it takes writes.
func (p *Postgres) Promote() error {
	return p.command("pg_ctl", "promote", "-w", "-t", "60", "-D", p.data())
}

// Kill ends all processes of the server at once, by SIGKILL, as when its machine
// loses its power: what it had not written is gone.
func (p *Postgres) Kill() {
	children := p.children()
	_ = p.process.Process.Kill()
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	<-p.exited
}

// Restart starts the server again, after Kill. It recovers what its files have.
func (p *Postgres) Restart(settings ...string) error {
	return p.start(settings)
}

// Synchronous makes commits wait for a standby, which must follow by then.
func (p *Postgres) Synchronous(ctx context.Context) error {
	c, err := pgx.Connect(ctx, p.DSN())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	for _, sql := range []string{
		"ALTER SYSTEM SET synchronous_standby_names = '*'",
		"SELECT pg_reload_conf()",
	} {
		if _, err := c.Exec(ctx, sql); err != nil {
			return err
		}
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		var ready bool
		err := c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming')").Scan(&ready)
		if err != nil || ready {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Remove ends the server and deletes its directory.
func (p *Postgres) Remove() {
	if p.process != nil && p.process.Process != nil {
		p.Kill()
	}
	_ = os.RemoveAll(p.dir)
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

func newPostgres() (*Postgres, error) {
	dir, err := os.MkdirTemp("", "uow-postgres-")
	if err != nil {
		return nil, err
	}
	p := &Postgres{dir: dir}
	if p.user, err = unprivileged(dir); err == nil {
		p.port, err = freePort()
	}
	if err != nil {
		p.Remove()
		return nil, err
	}
	return p, nil
}

func (p *Postgres) command(name string, args ...string) error {
	path, err := program(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	c.SysProcAttr, c.Dir = p.user, p.dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

func (p *Postgres) start(settings []string) error {
	path, err := program("postgres")
	if err != nil {
		return err
	}
	args := []string{"-D", p.data(), "-h", "127.0.0.1", "-p", p.port, "-k", p.dir}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	p.process = exec.Command(path, args...) //nolint:noctx // it lives until Remove
	p.process.SysProcAttr, p.process.Dir = p.user, p.dir
	p.process.Stdout, p.process.Stderr = &p.out, &p.out
	if err := p.process.Start(); err != nil {
		return err
	}
	p.exited = make(chan struct{})
	go func() { _ = p.process.Wait(); close(p.exited) }()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for range 600 {
		if reachable(p.DSN()) == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("postgres ended: %s", p.out.String())
		case <-ticker.C:
		}
	}
	return errors.New("the server that was started does not answer")
}

// children returns the processes that the server has started.
func (p *Postgres) children() []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.process.Process.Pid))
	var pids []int
	for _, list := range lists {
		line, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(line)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
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

func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "mysql", "nobody"} {
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
	return nil, errors.New("a server does not run as root, and there is no user postgres, mysql or nobody")
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed at once
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

package servers

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// findMySQL looks for an account that may create databases.
func findMySQL() (dsn string, stop func(), err error) {
	for _, name := range []string{"MYSQL_DSN", "UOW_MYSQL"} {
		if dsn := os.Getenv(name); dsn != "" {
			return dsn, nil, nil
		}
	}
	var errs []error
	for _, name := range []string{"root", "test"} {
		dsn := mysqlDSN(name, "127.0.0.1:3306")
		err := ping(dsn)
		if err == nil {
			return dsn, nil, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	}
	dsn, stop, err = startMySQL()
	if err != nil {
		return "", nil, errors.Join(append(errs, err)...)
	}
	return dsn, stop, nil
}

func mysqlDSN(user, address string) string {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.Timeout = user, "tcp", address, 5*time.Second
	return cfg.FormatDSN()
}

func ping(dsn string) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(db.PingContext(ctx), db.Close())
}

// startMySQL makes a database in a temporary directory and starts an installed MariaDB
// on it. Commits are not synced to the disk, which kill -9 does not show.
func startMySQL() (dsn string, stop func(), err error) {
	mariadbd, err := mysqlProgram("mariadbd")
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "uow-mysql-")
	if err != nil {
		return "", nil, err
	}
	process, address, err := runMySQL(mariadbd, dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", nil, err
	}
	exited := make(chan struct{})
	go func() { _ = process.Wait(); close(exited) }()
	stop = func() {
		_ = process.Process.Signal(syscall.SIGTERM)
		<-exited
		_ = os.RemoveAll(dir)
	}
	dsn = mysqlDSN("root", address)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for range 600 {
		if ping(dsn) == nil {
			return dsn, stop, nil
		}
		select {
		case <-exited:
			stop()
			return "", nil, fmt.Errorf("mariadbd ended: %s", process.Stderr)
		case <-ticker.C:
		}
	}
	stop()
	return "", nil, errors.New("the server that was started does not answer")
}

// runMySQL prepares a directory and starts the server.
func runMySQL(mariadbd, dir string) (process *exec.Cmd, address string, err error) {
	install, err := mysqlProgram("mariadb-install-db")
	if err != nil {
		return nil, "", err
	}
	who, err := unprivileged(dir)
	if err != nil {
		return nil, "", err
	}
	data := "--datadir=" + filepath.Join(dir, "data")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	prepare := exec.CommandContext(ctx, install, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db")
	prepare.SysProcAttr, prepare.Dir = who, dir
	if out, err := prepare.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	process = exec.Command(mariadbd, "--no-defaults", data, "--bind-address=127.0.0.1", "--port="+port, //nolint:noctx // it lives until stop
		"--socket="+filepath.Join(dir, "socket"), "--pid-file="+filepath.Join(dir, "pid"), "--innodb-flush-log-at-trx-commit=0")
	process.SysProcAttr, process.Dir, process.Stderr = who, dir, &bytes.Buffer{}
	return process, "127.0.0.1:" + port, process.Start()
}

func mysqlProgram(name string) (string, error) {
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

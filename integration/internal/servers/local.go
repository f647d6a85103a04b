package servers

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Local is what a test process has found. Its zero value is ready; Close stops what
// it has started. It may be used from many goroutines.
type Local struct {
	postgres, mysql found
}

type found struct {
	once sync.Once
	dsn  string
	stop func()
	err  error
}

// Postgres returns the dsn, a URL, of a PostgreSQL that tests share: those of
// POSTGRES_URL or UOW_POSTGRES, of 127.0.0.1:5432, or one that is started.
func (l *Local) Postgres(t testing.TB) string {
	t.Helper()
	f := &l.postgres
	f.once.Do(func() { f.dsn, f.stop, f.err = findPostgres() })
	if f.err != nil {
		Missing(t, "PostgreSQL: set POSTGRES_URL, start one at 127.0.0.1:5432, or install its server", f.err)
	}
	return f.dsn
}

// MySQL returns the dsn, in the form of go-sql-driver, of a MySQL or MariaDB that
// tests share: that of MYSQL_DSN or UOW_MYSQL, of 127.0.0.1:3306, or one that is
// started.
func (l *Local) MySQL(t testing.TB) string {
	t.Helper()
	f := &l.mysql
	f.once.Do(func() { f.dsn, f.stop, f.err = findMySQL() })
	if f.err != nil {
		Missing(t, "MySQL or MariaDB: set MYSQL_DSN, start one at 127.0.0.1:3306 with an account root or test that has no password, or install mariadb-server", f.err)
	}
	return f.dsn
}

// Close stops the servers that were started.
func (l *Local) Close() {
	for _, f := range []*found{&l.postgres, &l.mysql} {
		if f.stop != nil {
			f.stop()
		}
	}
}

// Missing skips a test for want of something, or fails it with REQUIRE_SERVICES=1.
func Missing(t testing.TB, what string, why error) {
	t.Helper()
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatalf("there is no %s (%v)", what, why)
	}
	t.Skipf("there is no %s (%v)", what, why)
}

func findPostgres() (dsn string, stop func(), err error) {
	for _, name := range []string{"POSTGRES_URL", "UOW_POSTGRES"} {
		if dsn := os.Getenv(name); dsn != "" {
			return dsn, nil, nil
		}
	}
	for _, name := range []string{"postgres", "root"} {
		dsn := "postgres://" + name + "@127.0.0.1:5432/test?sslmode=disable"
		if reachable(dsn) == nil {
			return dsn, nil, nil
		}
	}
	server, err := StartPostgres()
	if err != nil {
		return "", nil, err
	}
	return server.DSN(), server.Remove, nil
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

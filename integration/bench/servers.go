package bench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// FindPostgres returns the URL of a PostgreSQL server: the one in POSTGRES_URL or
// UOW_POSTGRES, else one at 127.0.0.1:5432.
func FindPostgres(ctx context.Context) (string, error) {
	for _, name := range []string{"POSTGRES_URL", "UOW_POSTGRES"} {
		if dsn := os.Getenv(name); dsn != "" {
			return dsn, nil
		}
	}
	var errs []error
	for _, account := range []string{"postgres@127.0.0.1:5432/test", "root@127.0.0.1:5432/test", "postgres@127.0.0.1:5432/postgres"} {
		dsn := "postgres://" + account + "?sslmode=disable"
		_, err := DescribePostgres(ctx, dsn)
		if err == nil {
			return dsn, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("bench: no PostgreSQL: set POSTGRES_URL, or start one at 127.0.0.1:5432: %w", errors.Join(errs...))
}

// FindMySQL returns the dsn of a MySQL or MariaDB server, as its driver in Go takes
// it: the one in MYSQL_DSN, else one at 127.0.0.1:3306.
func FindMySQL(ctx context.Context) (string, error) {
	if dsn := os.Getenv("MYSQL_DSN"); dsn != "" {
		return dsn, nil
	}
	const dsn = "root@tcp(127.0.0.1:3306)/"
	if _, err := DescribeMySQL(ctx, dsn); err != nil {
		return "", fmt.Errorf("bench: no MySQL or MariaDB: set MYSQL_DSN, or start one at 127.0.0.1:3306: %w", err)
	}
	return dsn, nil
}

// DescribePostgres says what a server is, and what a commit does there.
func DescribePostgres(ctx context.Context, dsn string) (text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	err = c.QueryRow(ctx, `SELECT format('PostgreSQL %s, fsync %s, synchronous_commit %s, shared_buffers %s',
		current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'), current_setting('shared_buffers'))`).Scan(&text)
	return text, err
}

// DescribeMySQL says what a server is, and what a commit does there.
func DescribeMySQL(ctx context.Context, dsn string) (text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return "", err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `SELECT concat(@@version, ', innodb_flush_log_at_trx_commit ', @@innodb_flush_log_at_trx_commit,
		', sync_binlog ', @@sync_binlog, ', innodb_buffer_pool_size ', @@innodb_buffer_pool_size div 1048576, ' MB')`).Scan(&text)
	return text, err
}

// DelayPostgres returns the dsn of the same server behind a Delay.
func DelayPostgres(dsn string, delay time.Duration) (delayed string, d *Delay, err error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", nil, err
	}
	if d, err = NewDelay(u.Host, delay); err != nil {
		return "", nil, err
	}
	u.Host = d.Address()
	return u.String(), d, nil
}

// DelayMySQL returns the dsn of the same server behind a Delay.
func DelayMySQL(dsn string, delay time.Duration) (delayed string, d *Delay, err error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return "", nil, err
	}
	if d, err = NewDelay(cfg.Addr, delay); err != nil {
		return "", nil, err
	}
	cfg.Addr = d.Address()
	return cfg.FormatDSN(), d, nil
}

// RoundTrip measures the median time of a statement that does nothing.
func RoundTrip(ctx context.Context, dsn string) (time.Duration, error) {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer c.Close(ctx)
	var times []time.Duration
	for range 101 {
		start := time.Now()
		if _, err := c.Exec(ctx, "SELECT 1"); err != nil {
			return 0, err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

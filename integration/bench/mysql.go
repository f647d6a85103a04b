package bench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MySQL returns the variants on the MySQL or MariaDB server of the dsn, which is one
// of github.com/go-sql-driver/mysql. Each run has a database of its own.
func MySQL(dsn string) *Store {
	return &Store{
		Name: "mysql", Make: makeDatabase(dsn), Rows: 1, Messages: 1,
		Variants: []Variant{
			{Name: "go-sql-driver, five trips", Open: openMySQLByHand},
		},
	}
}

func makeDatabase(dsn string) func(context.Context) (string, func() error, error) {
	return func(ctx context.Context) (where string, remove func() error, err error) {
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil {
			return "", nil, err
		}
		name := fmt.Sprintf("uow_bench_%d", time.Now().UnixNano())
		if err := executeMySQL(ctx, dsn, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4"); err != nil {
			return "", nil, err
		}
		cfg.DBName = name
		return cfg.FormatDSN(), func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			return executeMySQL(ctx, dsn, "DROP DATABASE "+name)
		}, nil
	}
}

func executeMySQL(ctx context.Context, dsn, query string) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, query)
	return err
}

func mysqlSums(ctx context.Context, dsn, outbox string) (sums Sums, err error) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return sums, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `SELECT CAST(sum(version - 1) AS SIGNED), CAST(sum(JSON_EXTRACT(body, '$.Balance')) AS SIGNED),
		(SELECT count(*) FROM `+outbox+`) FROM accounts`).Scan(&sums.Changes, &sums.Balance, &sums.Messages)
	return sums, err
}

const (
	mysqlAccounts = `CREATE TABLE accounts (id varchar(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
		version bigint NOT NULL, body json NOT NULL) ENGINE=InnoDB`
	mysqlOutbox = "CREATE TABLE outbox (position bigint AUTO_INCREMENT PRIMARY KEY, id varchar(190) NOT NULL, topic text NOT NULL, " +
		"ordering_key text NOT NULL, type text NOT NULL, created_at datetime(6) NOT NULL, payload mediumblob) ENGINE=InnoDB"
	mysqlSelect = `SELECT version, body FROM accounts WHERE id = ?`
	mysqlUpdate = `UPDATE accounts SET version = version + 1, body = ? WHERE id = ? AND version = ?`
	mysqlInsert = `INSERT INTO outbox (id, topic, ordering_key, type, created_at, payload) VALUES (?, ?, ?, ?, ?, ?)`
)

// mysqlByHand is database/sql by hand, with statements that are prepared once on each
// connection: BEGIN, SELECT, UPDATE, INSERT, COMMIT.
type mysqlByHand struct {
	db              *sql.DB
	load, save, add *sql.Stmt
	dsn             string
	event           Changed
}

func openMySQLByHand(ctx context.Context, dsn string) (Subject, error) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(Conns)
	db.SetMaxIdleConns(Conns)
	s := &mysqlByHand{db: db, dsn: dsn, event: newEvent()}
	if err := fillMySQL(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for query, to := range map[string]**sql.Stmt{mysqlSelect: &s.load, mysqlUpdate: &s.save, mysqlInsert: &s.add} {
		if *to, err = db.PrepareContext(ctx, query); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return s, nil
}

func fillMySQL(ctx context.Context, db *sql.DB) error {
	for _, table := range []string{mysqlAccounts, mysqlOutbox} {
		if _, err := db.ExecContext(ctx, table); err != nil {
			return err
		}
	}
	ids, bodies, err := accounts(Rows)
	if err != nil {
		return err
	}
	args := make([]any, 0, 2*Rows)
	for i := range ids {
		args = append(args, ids[i], bodies[i])
	}
	_, err = db.ExecContext(ctx, `INSERT INTO accounts (id, version, body) VALUES (?, 1, ?)`+strings.Repeat(`, (?, 1, ?)`, Rows-1), args...)
	return err
}

func (s *mysqlByHand) Unit(ctx context.Context, id string, change func(*Account)) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := s.work(ctx, tx, id, change); err != nil {
		return errors.Join(mysqlConflict(err), tx.Rollback())
	}
	return tx.Commit()
}

// mysqlConflict tells by which errors the server reports conflicts: a row that was
// changed since the snapshot, and a deadlock.
func mysqlConflict(err error) error {
	var e *mysql.MySQLError
	if errors.As(err, &e) && (e.Number == 1020 || e.Number == 1213) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

func (s *mysqlByHand) work(ctx context.Context, tx *sql.Tx, id string, change func(*Account)) error {
	var version int64
	var body []byte
	if err := tx.StmtContext(ctx, s.load).QueryRowContext(ctx, id).Scan(&version, &body); err != nil {
		return err
	}
	body, err := edit(body, change)
	if err != nil {
		return err
	}
	result, err := tx.StmtContext(ctx, s.save).ExecContext(ctx, body, id, version)
	if err != nil {
		return err
	}
	if err := changedOne(result, id); err != nil {
		return err
	}
	message, payload, err := newMessage(s.event)
	if err != nil {
		return err
	}
	_, err = tx.StmtContext(ctx, s.add).ExecContext(ctx, message, "accounts", id, "Changed", time.Now().UTC(), payload)
	return err
}

func (s *mysqlByHand) Sums(ctx context.Context) (Sums, error) { return mysqlSums(ctx, s.dsn, "outbox") }

func (s *mysqlByHand) Close() error {
	return errors.Join(s.load.Close(), s.save.Close(), s.add.Close(), s.db.Close())
}

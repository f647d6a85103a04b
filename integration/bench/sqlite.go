package bench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/sqlite"
	modernc "modernc.org/sqlite"
)

// SQLite returns the variants on SQLite, all with the same settings: a write-ahead
// log, synchronous=FULL, a checkpoint every 10000 pages. Databases are made in dir.
func SQLite(dir string) *Store {
	return &Store{
		Name: "sqlite", Make: makeFolder(dir), Rows: 1, Messages: 1,
		Variants: []Variant{
			{Name: "uow", Open: openSQLiteUnits},
			{Name: "one writer, mutex", Open: openMutex, Exclusive: true},
			{Name: "own transactions", Open: openOwn, Exclusive: true},
		},
	}
}

func makeFolder(dir string) func(context.Context) (string, func() error, error) {
	return func(context.Context) (string, func() error, error) {
		folder, err := os.MkdirTemp(dir, "uow-bench-")
		return folder, func() error { return os.RemoveAll(folder) }, err
	}
}

// sqliteUnits is uow; beside it there is a connection that asks what it has done.
type sqliteUnits struct {
	*units
	file string
}

func openSQLiteUnits(ctx context.Context, dir string) (Subject, error) {
	s, err := newSQLiteUnits(ctx, dir, Rows)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func newSQLiteUnits(ctx context.Context, dir string, rows int) (*sqliteUnits, error) {
	s := &sqliteUnits{file: filepath.Join(dir, "bench.db")}
	var err error
	s.units, err = newUnits(ctx, rows, func(cfg uow.Config) (*uow.DB, error) { return sqlite.Open(ctx, s.file, cfg) })
	return s, err
}

func (s *sqliteUnits) Sums(ctx context.Context) (sums Sums, err error) {
	db, err := sql.Open("sqlite", "file:"+s.file)
	if err != nil {
		return sums, err
	}
	defer db.Close()
	return sqliteSums(ctx, db, "uow_outbox")
}

func sqliteSums(ctx context.Context, db *sql.DB, outbox string) (sums Sums, err error) {
	err = db.QueryRowContext(ctx, `SELECT sum(version - 1), sum(json_extract(CAST(body AS TEXT), '$.Balance')),
		(SELECT count(*) FROM `+outbox+`) FROM accounts`).Scan(&sums.Changes, &sums.Balance, &sums.Messages)
	return sums, err
}

const (
	sqliteTables = `
		CREATE TABLE accounts (id TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
		CREATE TABLE outbox (position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, topic TEXT NOT NULL,
			ordering_key TEXT NOT NULL, type TEXT NOT NULL, created_at INTEGER NOT NULL, payload BLOB) STRICT`
	sqlitePragmas = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(10000)&_pragma=foreign_keys(1)&_txlock=immediate"
	sqliteSelect  = `SELECT version, body FROM accounts WHERE id = ?`
	sqliteUpdate  = `UPDATE accounts SET version = version + 1, body = ? WHERE id = ? AND version = ?`
	sqliteInsert  = `INSERT INTO outbox (id, topic, ordering_key, type, created_at, payload) VALUES (?, ?, ?, ?, ?, ?)`
)

// openSQLite opens a database and fills it, by hand.
func openSQLite(ctx context.Context, dir string, conns, rows int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bench.db")+"?"+sqlitePragmas)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if _, err := db.ExecContext(ctx, sqliteTables); err != nil {
		return nil, err
	}
	ids, bodies, err := accounts(rows)
	if err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	for i := range ids {
		if _, err := tx.ExecContext(ctx, `INSERT INTO accounts VALUES (?, 1, ?)`, ids[i], []byte(bodies[i])); err != nil {
			return nil, err
		}
	}
	return db, tx.Commit()
}

// statements are prepared once.
type statements struct {
	db              *sql.DB
	load, save, add *sql.Stmt
	event           Changed
}

type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

func prepare(ctx context.Context, db *sql.DB, on preparer) (s statements, err error) {
	s.db, s.event = db, newEvent()
	for query, to := range map[string]**sql.Stmt{sqliteSelect: &s.load, sqliteUpdate: &s.save, sqliteInsert: &s.add} {
		if *to, err = on.PrepareContext(ctx, query); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s statements) Sums(ctx context.Context) (Sums, error) { return sqliteSums(ctx, s.db, "outbox") }

// unit is what everyone writes between BEGIN and COMMIT.
func (s statements) unit(ctx context.Context, id string, change func(*Account), in func(*sql.Stmt) *sql.Stmt) error {
	var version int64
	var body []byte
	if err := in(s.load).QueryRowContext(ctx, id).Scan(&version, &body); err != nil {
		return err
	}
	body, err := edit(body, change)
	if err != nil {
		return err
	}
	result, err := in(s.save).ExecContext(ctx, body, id, version)
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
	_, err = in(s.add).ExecContext(ctx, message, "accounts", id, "Changed", time.Now().UnixMicro(), payload)
	return err
}

// changedOne is the check of the version.
func changedOne(result sql.Result, id string) error {
	n, err := result.RowsAffected()
	if err == nil && n != 1 {
		err = fmt.Errorf("%w: %s", ErrConflict, id)
	}
	return err
}

// mutex is good code by hand: one connection that writes, and a mutex.
type mutex struct {
	conn *sql.Conn
	statements
	begin, commit, rollback *sql.Stmt
	mu                      sync.Mutex
}

func openMutex(ctx context.Context, dir string) (Subject, error) {
	db, err := openSQLite(ctx, dir, 2, Rows)
	if err != nil {
		return nil, err
	}
	s := &mutex{}
	if s.conn, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	if s.statements, err = prepare(ctx, db, s.conn); err != nil {
		return nil, err
	}
	for query, to := range map[string]**sql.Stmt{"BEGIN IMMEDIATE": &s.begin, "COMMIT": &s.commit, "ROLLBACK": &s.rollback} {
		if *to, err = s.conn.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *mutex) Unit(ctx context.Context, id string, change func(*Account)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.begin.ExecContext(ctx); err != nil {
		return err
	}
	err := s.unit(ctx, id, change, func(stmt *sql.Stmt) *sql.Stmt { return stmt })
	if err == nil {
		_, err = s.commit.ExecContext(ctx)
	}
	if err != nil {
		_, failed := s.rollback.ExecContext(ctx)
		return errors.Join(err, failed)
	}
	return nil
}

func (s *mutex) Close() error { return errors.Join(s.conn.Close(), s.db.Close()) }

// own has a transaction and a connection for each caller, and lets the busy timeout
// sort it out. Where that was not enough it begins anew.
type own struct{ statements }

func openOwn(ctx context.Context, dir string) (Subject, error) {
	db, err := openSQLite(ctx, dir, MaxCallers, Rows)
	if err != nil {
		return nil, err
	}
	s := &own{}
	s.statements, err = prepare(ctx, db, db)
	return s, err
}

func (s *own) Unit(ctx context.Context, id string, change func(*Account)) error {
	for {
		err := s.try(ctx, id, change)
		var busy *modernc.Error
		if !errors.As(err, &busy) || busy.Code()&0xff != 5 || ctx.Err() != nil {
			return err
		}
	}
}

func (s *own) try(ctx context.Context, id string, change func(*Account)) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	err = s.unit(ctx, id, change, func(stmt *sql.Stmt) *sql.Stmt { return tx.StmtContext(ctx, stmt) })
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (s *own) Close() error { return s.db.Close() }

package bench

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/sqlite"
	modernc "modernc.org/sqlite"
)

// SQLite returns the variants on SQLite, all with the same settings: a write-ahead
// log, synchronous=FULL, a checkpoint every 10000 pages.
func SQLite() []Variant {
	return []Variant{
		{Name: "uow", Open: openUnits},
		{Name: "mutex", Open: openMutex},
		{Name: "own-tx", Open: openOwn},
	}
}

type units struct {
	db       *uow.DB
	accounts *uow.Collection[Account]
	payload  []byte
}

func openUnits(ctx context.Context, dir string) (Subject, error) {
	s := &units{accounts: uow.NewCollection[Account]("accounts"), payload: payload()}
	var err error
	s.db, err = sqlite.Open(ctx, filepath.Join(dir, "uow.db"), uow.Config{Collections: []uow.AnyCollection{s.accounts}})
	if err != nil {
		return nil, err
	}
	return s, s.db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		for i := range Rows {
			if err := s.accounts.In(u).Add(newAccount(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *units) Unit(ctx context.Context, id string) (int, error) {
	return 0, s.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		a, err := s.accounts.In(u).Get(ctx, id)
		if err != nil {
			return err
		}
		a.Balance++
		return outbox.Append(u, outbox.Message{Topic: "accounts", Key: id, Type: "Changed", Payload: s.payload})
	})
}

func (s *units) Close() error { return s.db.Close() }

const (
	handTables = `
		CREATE TABLE accounts (id TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
		CREATE TABLE outbox (position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, topic TEXT NOT NULL,
			ordering_key TEXT NOT NULL, type TEXT NOT NULL, created_at INTEGER NOT NULL, payload BLOB) STRICT`
	handPragmas = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(10000)&_pragma=foreign_keys(1)&_txlock=immediate"
	handSelect  = `SELECT version, body FROM accounts WHERE id = ?`
	handUpdate  = `UPDATE accounts SET version = version + 1, body = ? WHERE id = ? AND version = ?`
	handInsert  = `INSERT INTO outbox (id, topic, ordering_key, type, created_at, payload) VALUES (?, ?, ?, ?, ?, ?)`
)

func openHand(ctx context.Context, dir, name string, conns int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, name)+"?"+handPragmas)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if _, err := db.ExecContext(ctx, handTables); err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	for i := range Rows {
		a := newAccount(i)
		body, err := json.Marshal(a)
		if err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO accounts VALUES (?, 1, ?)`, a.ID, body); err != nil {
			return nil, err
		}
	}
	return db, tx.Commit()
}

// statements are prepared once.
type statements struct {
	load, save, add *sql.Stmt
	payload         []byte
}

type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

func prepare(ctx context.Context, on preparer) (s statements, err error) {
	s.payload = payload()
	for query, to := range map[string]**sql.Stmt{handSelect: &s.load, handUpdate: &s.save, handInsert: &s.add} {
		if *to, err = on.PrepareContext(ctx, query); err != nil {
			return s, err
		}
	}
	return s, nil
}

// unit is what everyone writes between BEGIN and COMMIT.
func (s statements) unit(ctx context.Context, id string, in func(*sql.Stmt) *sql.Stmt) error {
	var version int64
	var body []byte
	if err := in(s.load).QueryRowContext(ctx, id).Scan(&version, &body); err != nil {
		return err
	}
	var a Account
	if err := json.Unmarshal(body, &a); err != nil {
		return err
	}
	a.Balance++
	body, err := json.Marshal(&a)
	if err != nil {
		return err
	}
	result, err := in(s.save).ExecContext(ctx, body, id, version)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); n != 1 || err != nil {
		return errors.Join(fmt.Errorf("conflict on %s", id), err)
	}
	var random [16]byte
	_, _ = rand.Read(random[:])
	_, err = in(s.add).ExecContext(ctx, hex.EncodeToString(random[:]), "accounts", id, "Changed", time.Now().UnixMicro(), s.payload)
	return err
}

// mutex is good code by hand: one connection that writes, and a mutex.
type mutex struct {
	db   *sql.DB
	conn *sql.Conn
	statements
	begin, commit, rollback *sql.Stmt
	mu                      sync.Mutex
}

func openMutex(ctx context.Context, dir string) (Subject, error) {
	db, err := openHand(ctx, dir, "mutex.db", 2)
	if err != nil {
		return nil, err
	}
	s := &mutex{db: db}
	if s.conn, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	if s.statements, err = prepare(ctx, s.conn); err != nil {
		return nil, err
	}
	for query, to := range map[string]**sql.Stmt{"BEGIN IMMEDIATE": &s.begin, "COMMIT": &s.commit, "ROLLBACK": &s.rollback} {
		if *to, err = s.conn.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *mutex) Unit(ctx context.Context, id string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.begin.ExecContext(ctx); err != nil {
		return 0, err
	}
	err := s.unit(ctx, id, func(stmt *sql.Stmt) *sql.Stmt { return stmt })
	if err == nil {
		_, err = s.commit.ExecContext(ctx)
	}
	if err != nil {
		_, failed := s.rollback.ExecContext(ctx)
		return 0, errors.Join(err, failed)
	}
	return 0, nil
}

func (s *mutex) Close() error { return errors.Join(s.conn.Close(), s.db.Close()) }

// own has a transaction and a connection for each goroutine, and the busy timeout
// sort it out.
type own struct {
	db *sql.DB
	statements
}

func openOwn(ctx context.Context, dir string) (Subject, error) {
	db, err := openHand(ctx, dir, "own.db", MaxGoroutines)
	if err != nil {
		return nil, err
	}
	s := &own{db: db}
	s.statements, err = prepare(ctx, db)
	return s, err
}

func (s *own) Unit(ctx context.Context, id string) (retries int, err error) {
	for ; ; retries++ {
		err = s.try(ctx, id)
		var busy *modernc.Error
		if !errors.As(err, &busy) || busy.Code()&0xff != 5 {
			return retries, err
		}
	}
}

func (s *own) try(ctx context.Context, id string) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	err = s.unit(ctx, id, func(stmt *sql.Stmt) *sql.Stmt { return tx.StmtContext(ctx, stmt) })
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (s *own) Close() error { return s.db.Close() }

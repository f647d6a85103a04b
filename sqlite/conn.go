package sqlite

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"

	modernc "modernc.org/sqlite"
)

// rawConn and rawStmt are what the driver's connections and statements do.
type rawConn interface {
	sqldriver.Conn
	sqldriver.ConnPrepareContext
	sqldriver.ExecerContext
	sqldriver.QueryerContext
	modernc.HookRegisterer
}

type rawStmt interface {
	sqldriver.Stmt
	sqldriver.StmtExecContext
	sqldriver.StmtQueryContext
}

// maxStatements bounds the prepared statements that a connection keeps. Only
// queries of ever new shapes come near it.
const maxStatements = 256

// conn is one connection, used below database/sql, whose pool and conversions
// cost as much as small statements do. It belongs to one goroutine at a time.
type conn struct {
	raw   rawConn
	stmts map[string]rawStmt
	args  []sqldriver.NamedValue
	row   []sqldriver.Value
	vals  []sqldriver.Value

	// open is true while rows are being read: no statement may be closed then.
	open bool

	// inTx is true from begin until the transaction's end, whoever ended it; the
	// hooks keep it true to the facts. They are on the writer's connection only.
	inTx       bool
	committing bool

	// bridge lets database/sql use the connection; nil until a unit runs its own
	// SQL.
	bridge     *sql.DB
	bridgeConn *sql.Conn
}

func dial(ctx context.Context, location string) (*conn, error) {
	connector, err := modernc.NewConnector(location)
	if err != nil {
		return nil, err
	}
	opened, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	raw, ok := opened.(rawConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's connection is a %T", opened), opened.Close())
	}
	return &conn{raw: raw, stmts: make(map[string]rawStmt)}, nil
}

func (c *conn) close() error {
	var errs []error
	if c.bridge != nil {
		errs = append(errs, c.bridgeConn.Close(), c.bridge.Close())
	}
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	c.stmts = nil
	return errors.Join(append(errs, c.raw.Close())...)
}

// prepare returns the connection's prepared statement.
func (c *conn) prepare(query string) (rawStmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	if len(c.stmts) >= maxStatements && !c.open {
		for q, s := range c.stmts {
			_ = s.Close() // reports the error of its last run once more
			delete(c.stmts, q)
		}
	}
	prepared, err := c.raw.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	s, ok := prepared.(rawStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's statement is a %T", prepared), prepared.Close())
	}
	c.stmts[query] = s
	return s, nil
}

// bind puts arguments into the shape that the driver wants, in memory that is
// used again by the next call.
func (c *conn) bind(args []sqldriver.Value) []sqldriver.NamedValue {
	for len(c.args) < len(args) {
		c.args = append(c.args, sqldriver.NamedValue{Ordinal: len(c.args) + 1})
	}
	for i, a := range args {
		c.args[i].Value = a
	}
	return c.args[:len(args)]
}

// exec runs a statement and returns how many rows it changed. It is not bound to
// a context: what it does is short, and an interrupted write would take the whole
// transaction with it.
func (c *conn) exec(query string, args ...sqldriver.Value) (int64, error) {
	result, err := c.result(query, args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// insert is exec, and returns the last row's id.
func (c *conn) insert(query string, args ...sqldriver.Value) (int64, error) {
	result, err := c.result(query, args)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

func (c *conn) result(query string, args []sqldriver.Value) (sqldriver.Result, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(context.Background(), c.bind(args))
}

// script runs statements that are not worth keeping.
func (c *conn) script(query string) error {
	_, err := c.raw.ExecContext(context.Background(), query, nil)
	return err
}

// start runs a query. The rows must be closed.
func (c *conn) start(ctx context.Context, query string, args ...sqldriver.Value) (sqldriver.Rows, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, c.bind(args))
}

// buffer returns memory for one row, which the next row overwrites.
func (c *conn) buffer(columns int) []sqldriver.Value {
	if len(c.row) < columns {
		c.row = make([]sqldriver.Value, columns)
	}
	return c.row[:columns]
}

// query runs a query and calls scan with each row.
func (c *conn) query(ctx context.Context, scan func(row []sqldriver.Value) error, query string, args ...sqldriver.Value) error {
	rows, err := c.start(ctx, query, args...)
	if err != nil {
		return err
	}
	row := c.buffer(len(rows.Columns()))
	c.open = true
	for err == nil {
		if err = rows.Next(row); err == nil {
			err = scan(row)
		}
	}
	c.open = false
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, rows.Close())
}

// integer returns the first column of a query's first row, and whether there is
// one that is not NULL.
func (c *conn) integer(query string, args ...sqldriver.Value) (n int64, ok bool, err error) {
	err = c.query(context.Background(), func(row []sqldriver.Value) error {
		n, ok = row[0].(int64)
		return nil
	}, query, args...)
	return n, ok, err
}

func text(v sqldriver.Value) string {
	s, _ := v.(string)
	return s
}

func number(v sqldriver.Value) int64 {
	n, _ := v.(int64)
	return n
}

// blob also takes text, which users' SQL may have made of a body.
func blob(v sqldriver.Value) []byte {
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	b, _ := v.([]byte)
	return b
}

func (c *conn) journalMode() (mode string, err error) {
	err = c.query(context.Background(), func(row []sqldriver.Value) error {
		mode = text(row[0])
		return nil
	}, "PRAGMA journal_mode = WAL")
	return mode, err
}

// file returns the database's file, as SQLite has found it.
func (c *conn) file() (path string, err error) {
	err = c.query(context.Background(), func(row []sqldriver.Value) error {
		path = text(row[0])
		return nil
	}, "SELECT file FROM pragma_database_list WHERE name = 'main'")
	return path, err
}

// values returns empty memory for a statement's arguments, which the next call
// uses again.
func (c *conn) values(capacity int) []sqldriver.Value {
	if cap(c.vals) < capacity {
		c.vals = make([]sqldriver.Value, 0, 2*capacity)
	}
	return c.vals[:0]
}

// Package sqlunit shows a unit as a database of database/sql, for libraries that
// take a *sql.DB. What is particular to a store's database is behind Native.
//
// Each connection of the *sql.DB is the unit itself: connections have no state but
// the transactions begun on them, and there may be any number, so that nothing waits
// for a connection that the same goroutine has. Each statement is an operation of the
// unit, and so refused after its end and beside another operation.
//
// A transaction is a nested unit (uow.Unit.BeginNested), and so is a savepoint set by
// SQL within one: what libraries do when transactions are nested. So the unit's
// aggregates, events and messages go back with the rows. SQL that would end the unit's
// own transaction is refused.
//
// A result is read to its end before the query returns: no statement meets an open
// one on the connection, and nothing that database/sql does in goroutines of its own
// reaches the database.
package sqlunit

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

// Native runs statements in a store's transaction. The arguments are as the user
// gave them.
type Native interface {
	Exec(ctx context.Context, tx driver.Tx, query string, args []sqldriver.NamedValue) (sqldriver.Result, error)
	// Query reads all results to their ends; there is at least one.
	Query(ctx context.Context, tx driver.Tx, query string, args []sqldriver.NamedValue) ([]Result, error)
}

// Open returns the unit as a database. The unit's end closes it.
func Open(u *uow.Unit, native Native) *sql.DB {
	db := sql.OpenDB(connector{u, native})
	u.OnEnd(func() { _ = db.Close() }) // its connections have nothing to fail
	return db
}

type connector struct {
	unit   *uow.Unit
	native Native
}

// Connect implements database/sql/driver.Connector.
func (c connector) Connect(context.Context) (sqldriver.Conn, error) {
	return &conn{connector: c}, nil
}

// Driver implements database/sql/driver.Connector.
func (c connector) Driver() sqldriver.Driver { return c }

// Open makes a connector its own driver, which nobody opens by name.
func (c connector) Open(string) (sqldriver.Conn, error) { return c.Connect(context.Background()) }

// conn is a connection. database/sql uses it from one goroutine at a time.
type conn struct {
	connector
	levels []level // the transactions and savepoints that are open, the innermost last
}

var (
	_ sqldriver.ConnBeginTx        = (*conn)(nil)
	_ sqldriver.ConnPrepareContext = (*conn)(nil)
	_ sqldriver.ExecerContext      = (*conn)(nil)
	_ sqldriver.QueryerContext     = (*conn)(nil)
	_ sqldriver.NamedValueChecker  = (*conn)(nil)
	_ sqldriver.SessionResetter    = (*conn)(nil)
	_ sqldriver.Validator          = (*conn)(nil)
)

// use runs fn as an operation of the unit, or of the transaction begun last.
//
// Whatever went wrong, database/sql must not take it for a connection that it could
// replace: the unit has no other.
func (c *conn) use(ctx context.Context, fn func(tx driver.Tx) error) error {
	use := c.unit.Use
	if n := len(c.levels); n > 0 {
		use = c.levels[n-1].nested.Use
	}
	return kept(use(ctx, fn))
}

func kept(err error) error {
	if errors.Is(err, sqldriver.ErrBadConn) {
		return fmt.Errorf("uow: the unit's connection is lost: %v", err) //nolint:errorlint // it must not be found
	}
	return err
}

// ExecContext implements database/sql/driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []sqldriver.NamedValue) (result sqldriver.Result, err error) {
	if command := parse(query); command != nil {
		return sqldriver.ResultNoRows, c.control(ctx, command)
	}
	err = c.use(ctx, func(tx driver.Tx) error {
		result, err = c.native.Exec(ctx, tx, query, args)
		return err
	})
	return result, err
}

// QueryContext implements database/sql/driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	if command := parse(query); command != nil {
		return &rows{results: []Result{{}}}, c.control(ctx, command)
	}
	var results []Result
	err := c.use(ctx, func(tx driver.Tx) (err error) {
		results, err = c.native.Query(ctx, tx, query, args)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &rows{results: results}, nil
}

// PrepareContext implements database/sql/driver.ConnPrepareContext. It keeps the
// text: stores prepare what is worth it, and an error of the text is one of its use.
func (c *conn) PrepareContext(_ context.Context, query string) (sqldriver.Stmt, error) {
	return &stmt{c, query}, nil
}

// Prepare implements database/sql/driver.Conn.
func (c *conn) Prepare(query string) (sqldriver.Stmt, error) { return &stmt{c, query}, nil }

// CheckNamedValue lets all values through: the store's driver converts them.
func (c *conn) CheckNamedValue(*sqldriver.NamedValue) error { return nil }

// ResetSession implements database/sql/driver.SessionResetter.
func (c *conn) ResetSession(context.Context) error {
	c.levels = nil
	return nil
}

// IsValid implements database/sql/driver.Validator.
func (c *conn) IsValid() bool { return true }

// Close implements database/sql/driver.Conn. The connection is the unit's.
func (c *conn) Close() error { return nil }

// stmt is a statement's text.
type stmt struct {
	conn  *conn
	query string
}

var (
	_ sqldriver.StmtExecContext  = (*stmt)(nil)
	_ sqldriver.StmtQueryContext = (*stmt)(nil)
)

func (s *stmt) ExecContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

func (s *stmt) QueryContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

var errNoContext = errors.New("uow: statements are used with a context only")

func (s *stmt) Exec([]sqldriver.Value) (sqldriver.Result, error) { return nil, errNoContext }
func (s *stmt) Query([]sqldriver.Value) (sqldriver.Rows, error)  { return nil, errNoContext }
func (s *stmt) NumInput() int                                    { return -1 } // the database says
func (s *stmt) Close() error                                     { return nil }

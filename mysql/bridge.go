package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

// bridge shows a unit's connection to database/sql, for the user's own SQL: it is the
// connector, and the one connection that the connector gives. The transaction is
// begun and ended by us; what database/sql does at its end is to close the rows and
// statements that the user left open.
//
// All statements are prepared, so that none of them can be several: the connection
// allows that, for scripts, and where it does, a mistake in how a user's SQL is put
// together could cost more than one statement.
type bridge struct {
	t    *tx
	raw  rawConn
	db   *sql.DB
	tx   *sql.Tx
	open atomic.Int32 // rows
	// broken says that the driver has panicked, and its connection can't go on.
	broken atomic.Bool
}

var (
	_ sqldriver.Connector          = (*bridge)(nil)
	_ sqldriver.ConnBeginTx        = (*bridge)(nil)
	_ sqldriver.ConnPrepareContext = (*bridge)(nil)
	_ sqldriver.ExecerContext      = (*bridge)(nil)
	_ sqldriver.NamedValueChecker  = (*bridge)(nil)
	_ sqldriver.Tx                 = (*bridge)(nil)
)

// newBridge shows the connection of a transaction.
func newBridge(t *tx) (*bridge, error) {
	b := &bridge{t: t, raw: t.conn.raw}
	b.db = sql.OpenDB(b)
	// The transaction must outlive the context of its first statement.
	tx, err := b.db.BeginTx(context.Background(), nil)
	if err != nil {
		return nil, errors.Join(err, b.db.Close())
	}
	b.tx = tx
	return b, nil
}

// close closes what the user left open. The bridge of a transaction without own SQL
// is nil.
func (b *bridge) close() {
	if b == nil {
		return
	}
	_ = b.tx.Rollback() // which is Rollback below
	_ = b.db.Close()
}

// busy reports whether there are open rows, which the connection must be read out of
// before it can do anything else.
func (b *bridge) busy() bool { return b != nil && b.open.Load() > 0 }

// guard is deferred around the driver: a panic of it ends the transaction.
func (b *bridge) guard(err *error) {
	p := recover()
	if p == nil {
		return
	}
	*err = fmt.Errorf("mysql: the driver has panicked: %v", p)
	b.broken.Store(true)
	failed := *err
	b.t.lost.CompareAndSwap(nil, &failed)
}

// note keeps an error that has ended the transaction, and lets errors.Is find
// ErrRetryable in it.
func (b *bridge) note(err error) error {
	if !retryable(err) {
		return err
	}
	err = fmt.Errorf("mysql: %w: %w", driver.ErrRetryable, err)
	if b.t.store.lost(err) {
		b.t.lost.CompareAndSwap(nil, &err)
	}
	return err
}

// Connect implements driver.Connector of database/sql.
func (b *bridge) Connect(context.Context) (sqldriver.Conn, error) { return b, nil }

// Driver implements driver.Connector of database/sql.
func (b *bridge) Driver() sqldriver.Driver { return b }

// Open makes a bridge its own driver, which nobody opens by name.
func (b *bridge) Open(string) (sqldriver.Conn, error) { return b, nil }

// Close does nothing: the connection is the transaction's.
func (b *bridge) Close() error { return nil }

// Begin implements driver.Conn of database/sql.
func (b *bridge) Begin() (sqldriver.Tx, error) { return b, nil }

// BeginTx does nothing: there is a transaction.
func (b *bridge) BeginTx(context.Context, sqldriver.TxOptions) (sqldriver.Tx, error) { return b, nil }

// Commit does nothing, as Rollback: the unit ends the transaction.
func (b *bridge) Commit() error { return nil }

// Rollback does nothing: the unit ends the transaction.
func (b *bridge) Rollback() error { return nil }

// CheckNamedValue implements driver.NamedValueChecker of database/sql.
func (b *bridge) CheckNamedValue(v *sqldriver.NamedValue) error { return b.raw.CheckNamedValue(v) }

// Prepare implements driver.Conn of database/sql.
func (b *bridge) Prepare(query string) (sqldriver.Stmt, error) {
	return b.PrepareContext(context.Background(), query)
}

// PrepareContext implements driver.ConnPrepareContext of database/sql.
func (b *bridge) PrepareContext(ctx context.Context, query string) (prepared sqldriver.Stmt, err error) {
	defer b.guard(&err)
	if b.busy() {
		return nil, errBusy
	}
	stmt, err := b.raw.PrepareContext(ctx, query)
	if err != nil {
		return nil, b.note(err)
	}
	raw, ok := stmt.(rawStmt)
	if !ok {
		_ = stmt.Close()
		return nil, fmt.Errorf("%w: the driver's statements can't be used: %T", ErrServer, stmt)
	}
	return ownStmt{raw, b}, nil
}

// ExecContext prepares too, but for what the server can't prepare, as SAVEPOINT on
// MySQL: it has then parsed it as one statement.
func (b *bridge) ExecContext(ctx context.Context, query string, args []sqldriver.NamedValue) (result sqldriver.Result, err error) {
	defer b.guard(&err)
	stmt, err := b.PrepareContext(ctx, query)
	if code(err) == codeNotPreparable && len(args) == 0 {
		result, err = b.raw.ExecContext(ctx, query, nil)
		return result, b.note(err)
	}
	if err != nil {
		return nil, err
	}
	result, err = stmt.(ownStmt).ExecContext(ctx, args)
	_ = stmt.Close() // what it is about has been answered
	return result, err
}

// rawStmt is what the driver's statements can do.
type rawStmt interface {
	sqldriver.Stmt
	sqldriver.StmtExecContext
	sqldriver.StmtQueryContext
	sqldriver.NamedValueChecker
}

// ownStmt is a statement of the user's.
type ownStmt struct {
	rawStmt
	b *bridge
}

// ExecContext implements driver.StmtExecContext of database/sql.
func (s ownStmt) ExecContext(ctx context.Context, args []sqldriver.NamedValue) (result sqldriver.Result, err error) {
	defer s.b.guard(&err)
	if s.b.busy() {
		return nil, errBusy
	}
	result, err = s.rawStmt.ExecContext(ctx, args)
	return result, s.b.note(err)
}

// QueryContext implements driver.StmtQueryContext of database/sql.
func (s ownStmt) QueryContext(ctx context.Context, args []sqldriver.NamedValue) (result sqldriver.Rows, err error) {
	defer s.b.guard(&err)
	if s.b.busy() {
		return nil, errBusy
	}
	rows, err := s.rawStmt.QueryContext(ctx, args)
	if err != nil {
		return nil, s.b.note(err)
	}
	raw, ok := rows.(rawRows)
	if !ok {
		_ = rows.Close()
		return nil, fmt.Errorf("%w: the driver's rows can't be used: %T", ErrServer, rows)
	}
	s.b.open.Add(1)
	return &ownRows{rawRows: raw, b: s.b}, nil
}

// rawRows is what the driver's rows can do.
type rawRows interface {
	sqldriver.RowsNextResultSet
	sqldriver.RowsColumnTypeDatabaseTypeName
	sqldriver.RowsColumnTypeNullable
	sqldriver.RowsColumnTypePrecisionScale
	sqldriver.RowsColumnTypeScanType
}

// ownRows are the rows of a user's query.
type ownRows struct {
	rawRows
	b      *bridge
	closed atomic.Bool
}

// Next implements driver.Rows of database/sql.
func (r *ownRows) Next(dest []sqldriver.Value) (err error) {
	defer r.b.guard(&err)
	return r.b.note(r.rawRows.Next(dest))
}

// Close implements driver.Rows of database/sql.
func (r *ownRows) Close() (err error) {
	defer r.b.guard(&err)
	if !r.closed.Swap(true) {
		defer r.b.open.Add(-1)
	}
	return r.rawRows.Close()
}

package mysql

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow/driver"
)

var (
	// ErrClosed is returned by everything once the store was closed.
	ErrClosed = errors.New("mysql: the store is closed")

	// ErrSchema is returned by Open when the database was made by a newer version
	// of this package.
	ErrSchema = errors.New("mysql: unknown schema")

	// ErrMismatch is returned by Open when a table is not what its collection asks
	// for, and can't be made so without the user's help.
	ErrMismatch = errors.New("mysql: the table does not fit its collection")

	// ErrServer is returned by Open when the server, the database or the pool is not
	// one that this package can work with.
	ErrServer = errors.New("mysql: the server can't be used")

	// ErrText is returned when a string can't be stored: it is not UTF-8, or longer
	// than its column. Ids have up to 255 characters, index values 768; of messages,
	// topics and keys have up to 512, and the other strings 255. Bodies and payloads
	// have no such limit; bodies that are not UTF-8 need Options.Bodies = Bytes.
	ErrText = errors.New("mysql: the column can't hold the string")

	// ErrValue is returned when a number or a time can't be stored: infinities, and
	// times outside of the years 1 to 9999.
	ErrValue = errors.New("mysql: the column can't hold the value")

	// ErrTooLarge is returned when a statement, of which one row is enough, is larger
	// than what the server takes: its max_allowed_packet. Nothing was sent.
	ErrTooLarge = errors.New("mysql: larger than the server's max_allowed_packet")

	// ErrRolledBack is returned to a unit whose transaction is gone, because the
	// user's own SQL has ended it: by COMMIT or ROLLBACK, or by a statement that
	// commits implicitly, as those that define tables do. Nothing of the unit
	// happened, but for what that SQL committed.
	ErrRolledBack = errors.New("mysql: the unit's transaction has ended before the unit")

	// ErrFenced is returned by the commit of a unit that Resolve has declared not
	// to be committed. Nothing of the unit happened.
	ErrFenced = errors.New("mysql: the unit was resolved as not committed")

	// ErrForgotten is returned by Resolve for a unit so old that its marker may
	// have been deleted: see Options.MarkerRetention.
	ErrForgotten = errors.New("mysql: the unit is older than what is remembered")
)

// The server's errors that mean something here.
const (
	codeShutdown         = 1053
	codeColumn           = 1060 // the column is there
	codeDuplicate        = 1062
	codeSyntax           = 1064
	codeAborted          = 1152
	codeNetFirst         = 1158 // to codeNetLast: the connection failed
	codeNetLast          = 1161
	codeDuringCommit     = 1180
	codeNewAborted       = 1184
	codeUnknownVariable  = 1193
	codeLockWait         = 1205
	codeDeadlock         = 1213
	codeNotPreparable    = 1295
	codeNoPrivilege      = 1227
	codeNoSavepoint      = 1305
	codeInterrupted      = 1317
	codeRange            = 1690
	codeKilled           = 1927 // MariaDB
	codeStatementTimeout = 1969 // MariaDB
	codeExecutionTime    = 3024 // MySQL
	codeChanged          = 1020 // MariaDB: innodb_snapshot_isolation
	codeNoWait           = 3572 // MySQL
	codeDisconnected     = 4031 // MySQL
)

// code returns the server's error number; 0 for other errors.
func code(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// retryable reports whether the server says that another attempt may succeed.
func retryable(err error) bool {
	switch code(err) {
	case codeDeadlock, codeLockWait, codeChanged, codeNoWait:
		return true
	}
	var e *mysql.MySQLError
	return errors.As(err, &e) && string(e.SQLState[:]) == "40001"
}

// lost reports whether an error means that the server has rolled back the whole
// transaction, its savepoints included. A lock that was waited for too long costs
// the statement only, unless the server is told otherwise.
func (s *Store) lost(err error) bool {
	switch code(err) {
	case codeLockWait:
		return s.timeoutRollsBack
	case codeNoWait:
		return false
	}
	return retryable(err)
}

// answered reports whether the server itself refused, so that nothing of the
// transaction is in the database. An error that ends the session, or interrupts a
// statement, is not trusted: it may have come after the commit.
func answered(err error) bool {
	switch n := code(err); n {
	case 0, codeShutdown, codeAborted, codeDuringCommit, codeNewAborted, codeInterrupted, codeKilled,
		codeStatementTimeout, codeExecutionTime, codeDisconnected:
		return false
	default:
		return n < codeNetFirst || n > codeNetLast
	}
}

// usableAfter reports whether a connection can go on after an error.
func usableAfter(err error) bool {
	switch code(err) {
	case codeInterrupted, codeStatementTimeout, codeExecutionTime:
		return true
	}
	return answered(err)
}

// wrap says what failed, lets errors.Is find ErrRetryable where the server says
// that another attempt may succeed, and the context's cause where that ended it.
func (s *Store) wrap(ctx context.Context, what string, err error) error {
	switch {
	case retryable(err):
		return fmt.Errorf("mysql: %s: %w: %w", what, driver.ErrRetryable, err)
	case code(err) != 0:
	case s.closed.Load():
		return fmt.Errorf("%w (%s: %w)", ErrClosed, what, err)
	case ctx.Err() != nil:
		return fmt.Errorf("mysql: %s: %w: %w", what, context.Cause(ctx), err)
	case errors.Is(err, ErrText), errors.Is(err, ErrValue), errors.Is(err, ErrTooLarge):
		return err
	}
	return fmt.Errorf("mysql: %s: %w", what, err)
}

var (
	errEnded = errors.New("mysql: the transaction has ended")
	errLost  = errors.New("mysql: the unit's connection was lost, and its transaction with it")
	errBusy  = errors.New("mysql: rows of the unit's own SQL are still open")
)

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uow-go/uow/driver"
)

// Errors that errors.Is can ask for.
var (
	// ErrClosed is returned after the store has been closed.
	ErrClosed = errors.New("postgres: the store is closed")

	// ErrSchema is returned by Open when a newer version of this package made the
	// database's tables.
	ErrSchema = errors.New("postgres: the database has a newer schema")

	// ErrMismatch is returned by Open when a table is not what its collection asks
	// for, and can't be made so without the user's help.
	ErrMismatch = errors.New("postgres: the table does not fit its collection")

	// ErrServer is returned by Open when the server, or the database, is not one
	// that this package can work with.
	ErrServer = errors.New("postgres: the server can't be used")

	// ErrText is returned when a string can't be stored: PostgreSQL's text has
	// neither NUL bytes nor anything that is not UTF-8. Bodies may have both, see
	// Options.Bodies.
	ErrText = errors.New("postgres: text can't hold the string")

	// ErrRolledBack is returned to a unit whose transaction is gone: because the
	// user's own SQL has ended it, or because the server answered its COMMIT by
	// ROLLBACK. Nothing of the unit happened, but for what that SQL committed.
	ErrRolledBack = errors.New("postgres: the unit's transaction was rolled back")

	// ErrFenced is returned by the commit of a unit that Resolve has declared not
	// to be committed. Nothing of the unit happened.
	ErrFenced = errors.New("postgres: the unit was resolved as not committed")

	// ErrForgotten is returned by Resolve for a unit so old that its marker may
	// have been deleted: see Options.MarkerRetention.
	ErrForgotten = errors.New("postgres: the unit is older than what is remembered")
)

// SQLSTATEs. Those of the class UW are raised by functions of this package.
const (
	codeConflict         = "UW001"
	codeLeaseLost        = "UW002"
	codePartitions       = "UW003"
	codeLeaseHeld        = "UW004"
	codeRestored         = "UW005"
	codePositions        = "UW006"
	codeNotDurable       = "UW007"
	codeNeeded           = "UW008"
	codeUnique           = "23505"
	codeSerialization    = "40001"
	codeDeadlock         = "40P01"
	codeLockNotAvailable = "55P03"
	codeInvalidText      = "22P02"
	codeNoStatement      = "26000"
	codeStatementExists  = "42P05"
	codePlanChanged      = "0A000"
)

// code returns the SQLSTATE that the server reported; empty for other errors.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// wrap says what failed, lets errors.Is find ErrRetryable where the server says
// that another attempt may succeed, and the context's cause where that ended it.
func (s *Store) wrap(ctx context.Context, what string, err error) error {
	switch code(err) {
	case codeSerialization, codeDeadlock, codeLockNotAvailable:
		return fmt.Errorf("postgres: %s: %w: %w", what, driver.ErrRetryable, err)
	case "":
		if s.closed.Load() {
			return fmt.Errorf("%w (%s: %w)", ErrClosed, what, err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("postgres: %s: %w: %w", what, context.Cause(ctx), err)
		}
		if errors.Is(err, ErrText) {
			return err
		}
	}
	return fmt.Errorf("postgres: %s: %w", what, err)
}

// answered reports whether the server itself refused, so that nothing of the
// transaction is in the database. An error that ends the session is not trusted:
// it may have come after the commit.
func answered(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Severity != "FATAL" && e.Severity != "PANIC" &&
		e.SeverityUnlocalized != "FATAL" && e.SeverityUnlocalized != "PANIC"
}

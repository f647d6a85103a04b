package sqlite

import (
	"errors"
	"fmt"

	modernc "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/uow-go/uow/driver"
)

// Errors that errors.Is can ask for.
var (
	// ErrBusy is returned when the database was locked for longer than
	// Options.BusyTimeout, by another process or by a unit that runs its own SQL.
	// Nothing of the unit happened; it may be tried again.
	ErrBusy = errors.New("sqlite: the database is locked")

	// ErrFull is returned when the disk, or the database's own page limit, has no
	// room left. Nothing of the unit happened.
	ErrFull = errors.New("sqlite: the database or its disk is full")

	// ErrClosed is returned after the store has been closed.
	ErrClosed = errors.New("sqlite: the store is closed")

	// ErrSchema is returned by Open when a newer version of this package made the
	// database.
	ErrSchema = errors.New("sqlite: the database has a newer schema")

	// ErrMismatch is returned by Open when a collection's table is not what the
	// collection asks for, and can't be made so without the user's help.
	ErrMismatch = errors.New("sqlite: the table does not fit its collection")

	// ErrLost is returned to a unit that runs its own SQL when that SQL, or
	// SQLite because of it, has ended the unit's transaction. It can only be rolled
	// back.
	ErrLost = errors.New("sqlite: the unit's transaction was rolled back")
)

// code returns SQLite's extended result code, and 0 for errors of others.
func code(err error) int {
	var e *modernc.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// wrap says what failed, and lets errors.Is find the sentinel of a result code.
func wrap(what string, err error) error {
	switch code(err) & 0xff {
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("sqlite: %s: %w: %w: %w", what, ErrBusy, driver.ErrRetryable, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("sqlite: %s: %w: %w", what, ErrFull, err)
	}
	return fmt.Errorf("sqlite: %s: %w", what, err)
}

func isBusy(err error) bool { return code(err)&0xff == sqlite3.SQLITE_BUSY }

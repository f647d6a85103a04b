package files

import (
	"errors"
	"fmt"
	"syscall"
)

// Errors that errors.Is can ask for.
var (
	// ErrClosed is returned after the store has been closed.
	ErrClosed = errors.New("files: the store is closed")

	// ErrLocked is returned by Open when another process, or another store of
	// this one, has the directory open.
	ErrLocked = errors.New("files: the directory is in use")

	// ErrFormat is returned by Open when the directory was made by a newer version
	// of this package.
	ErrFormat = errors.New("files: the directory has a newer format")

	// ErrForeign is returned by Open when there is something in the directory that
	// the store has not put there, or when the directory is not the store's at all.
	ErrForeign = errors.New("files: not made by this store")

	// ErrDamaged is returned by Open when a file is not as the store left it. The
	// error says which, and nothing has been changed.
	ErrDamaged = errors.New("files: damaged")

	// ErrMismatch is returned by Open when rows that exist do not fit their
	// collection: they lack an index that it has, or break one that is unique.
	ErrMismatch = errors.New("files: the rows do not fit their collection")

	// ErrFull is returned when the disk has no room left. Nothing of the unit
	// happened; it may be tried again when there is room.
	ErrFull = errors.New("files: the disk is full")

	// ErrBroken is returned by all commits after the disk has failed to keep what a
	// commit wrote (fsync failed). What was committed before can still be read.
	// Nobody can say what is on the disk until the directory is opened again.
	ErrBroken = errors.New("files: the disk failed, the directory must be opened again")

	// ErrForgotten is returned by uow.DB.Resolve for units that were committed, or not,
	// too long ago.
	ErrForgotten = errors.New("files: the unit is forgotten")
)

// wrap says what failed, and lets errors.Is find that the disk is full.
func wrap(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%s: %w: %w", what, ErrFull, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func wrapNil(what string, err error) error {
	if err == nil {
		return nil
	}
	return wrap(what, err)
}

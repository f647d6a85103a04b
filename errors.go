package uow

import (
	"errors"
	"fmt"

	"github.com/uow-go/uow/driver"
)

// Errors that errors.Is can ask for.
var (
	// ErrUnitClosed is returned by everything obtained from a unit (the unit
	// itself, its repositories, native transaction handles) after the unit has
	// been committed or rolled back.
	ErrUnitClosed = errors.New("uow: the unit is closed")

	// ErrConcurrentUse is returned when a unit is used by two goroutines at once.
	// A commit that meets it rolls back.
	ErrConcurrentUse = errors.New("uow: the unit is used by two goroutines at once")

	// ErrManaged is returned by Commit inside DB.Do, which commits by itself, inside
	// a nested unit, and inside a commit.
	ErrManaged = errors.New("uow: this unit is not to be committed here")

	// ErrNestedOpen is returned by the end of a unit, or of a nested one, when a
	// nested unit in it has been left open, such as a transaction that a library has
	// begun inside the unit. What ends so is rolled back, and all that is in it.
	ErrNestedOpen = errors.New("uow: a nested unit, or a transaction inside the unit, is still open")

	// ErrRolledBack is returned by DB.Do when the closure rolled its unit back
	// and returned no error.
	ErrRolledBack = errors.New("uow: the closure rolled the unit back")

	// ErrNotFound is returned by Repository.Get when there is no such aggregate.
	ErrNotFound = errors.New("uow: not found")

	// ErrConflict is what errors.Is finds in a *ConflictError: another unit
	// changed an aggregate first.
	ErrConflict = driver.ErrConflict

	// ErrDuplicate is what errors.Is finds in a *DuplicateError: a unique index
	// already has the value.
	ErrDuplicate = driver.ErrDuplicate

	// ErrCycle is returned by a commit that would have to insert, or delete,
	// aggregates that refer to each other in a circle.
	ErrCycle = errors.New("uow: references form a cycle")

	// ErrTooLarge is what errors.Is finds when the payload of a message is larger than
	// Config.MaxPayload. Nothing of the unit is stored.
	ErrTooLarge = errors.New("uow: larger than Config.MaxPayload")

	// ErrConfig is what errors.Is finds in the errors of a wrong Config,
	// collection or query.
	ErrConfig = errors.New("uow: wrong configuration")
)

// ConflictError names the aggregate that another unit changed first, the version
// that this unit had and the one that the store has.
type ConflictError = driver.ConflictError

// DuplicateError names the aggregate that could not be written and the unique
// index whose value another one has.
type DuplicateError = driver.DuplicateError

// HookError reports a hook that failed.
type HookError struct {
	// Hook is "BeforeCommit", "AfterCommit", "AfterRollback", or "OnEnd" for what
	// Unit.OnEnd was given.
	Hook string
	// Err is what the hook returned, or describes the value it panicked with.
	Err error
}

// Error names the hook.
func (e *HookError) Error() string { return fmt.Sprintf("uow: %s hook: %v", e.Hook, e.Err) }

// Unwrap returns the hook's own error.
func (e *HookError) Unwrap() error { return e.Err }

func configError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

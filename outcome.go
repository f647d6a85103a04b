package uow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/pause"
)

// ErrInDoubt is what errors.Is finds in an *InDoubtError.
var ErrInDoubt = driver.ErrInDoubt

// InDoubtError reports a commit of which nobody knows whether it happened: the
// connection ended while the answer was awaited, and the database could not be
// asked until Config.ResolveTimeout was over. It is neither a success nor a
// failure: DB.Resolve can tell later. Neither the AfterCommit nor the
// AfterRollback hooks have run.
type InDoubtError struct {
	// Unit is the id to give to DB.Resolve.
	Unit string
	// Err is why the answer was lost.
	Err error
}

// Error names the unit.
func (e *InDoubtError) Error() string {
	return fmt.Sprintf("uow: unit %s: it is not known whether the commit happened: %v", e.Unit, e.Err)
}

// Unwrap returns why.
func (e *InDoubtError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrInDoubt) true.
func (e *InDoubtError) Is(target error) bool { return target == ErrInDoubt }

// Resolve reports whether the unit of an *InDoubtError was committed. When it
// reports that it was not, it never will be. An error means that the database
// could not be asked, or that the store's commits are never in doubt.
func (db *DB) Resolve(ctx context.Context, unit string) (committed bool, err error) {
	resolver, ok := db.store.(driver.Resolver)
	if !ok {
		return false, fmt.Errorf("uow: resolve: commits of %T are never in doubt", db.store)
	}
	committed, err = resolver.Resolve(ctx, unit)
	if err != nil {
		return false, fmt.Errorf("uow: resolve: %w", err)
	}
	return committed, nil
}

// settle finds out what became of a commit whose answer was lost. It returns nil
// when it happened, and an *InDoubtError when the database can't be asked in time.
func (u *Unit) settle(ctx context.Context, lost error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.db.cfg.ResolveTimeout)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		u.watch.doubted()
		committed, err := u.db.Resolve(ctx, u.id)
		switch {
		case err == nil && committed:
			return nil
		case err == nil:
			// The answer is known, so this must not be ErrInDoubt any more.
			return fmt.Errorf("uow: the commit did not happen, %w: the connection ended before it: %v", ErrRetryable, lost) //nolint:errorlint // see above
		case pause.For(ctx, wait) != nil:
			return &InDoubtError{Unit: u.id, Err: errors.Join(lost, err)}
		}
	}
}

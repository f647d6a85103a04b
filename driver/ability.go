package driver

import (
	"context"
	"errors"
)

// ErrRetryable is what errors.Is finds in an error after which the same unit may
// succeed when it is run again from its beginning: the server reported a
// serialization failure, a deadlock, or that something was busy. A store wraps the
// errors of Begin, Get, Find, Flush and Commit that are; a conflict is not, since
// package uow knows it by itself.
var ErrRetryable = errors.New("uow: retryable")

// ErrInDoubt is what errors.Is finds in an error of Commit after which nobody
// knows whether the unit was committed: the connection ended while the answer was
// awaited. Only a store that implements Resolver may return it. Everything that
// the server answered is an outcome, and so is a failure before the commit was
// sent.
var ErrInDoubt = errors.New("uow: in doubt")

// Nester is a Tx with nested parts that can be undone by themselves.
type Nester interface {
	// Nest begins a nested part: inside the transaction, or inside the nested part
	// that began last. A store may do it lazily, before the next statement that
	// could leave a trace.
	Nest(ctx context.Context) error
	// Unnest ends the nested part that began last. keep leaves what it did to the
	// part around it. Otherwise it leaves no trace, not even a Flush that failed in
	// it: the transaction can go on. It does not depend on any context. After an
	// error the transaction can only be rolled back.
	Unnest(keep bool) error
}

// Locker is a Tx that can lock rows as it reads them.
type Locker interface {
	// GetForUpdate is Get, and from then on, until the transaction ends, no other
	// can write the rows, or lock them: it waits. It waits for others too, and then
	// returns the newest rows. Where the transaction has read before and a row has
	// changed since, it returns a *ConflictError or an ErrRetryable instead. Where
	// nothing was read before, reads that follow may see a snapshot that is taken
	// with each of them.
	//
	// Missing rows are not locked.
	GetForUpdate(ctx context.Context, collection string, ids []string) ([]Row, error)
}

// Resolver is a Store whose Commit can leave a unit in doubt, and that can find
// out.
type Resolver interface {
	// Resolve reports whether a unit was committed. When it reports that it was
	// not, it never will be: the store makes that sure, against a commit that is
	// still on its way, by taking the place of the unit's marker. An error means
	// that the database could not be asked.
	Resolve(ctx context.Context, unit string) (committed bool, err error)
}

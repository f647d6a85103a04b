package uowtest

import (
	"context"
	"testing"

	"github.com/uow-go/uow"
)

// Harness is how the checks reach a store.
type Harness struct {
	// Open returns a fresh, empty database and sees to it, by t.Cleanup, that it is
	// closed. Where the store's Tables are not lacking, it creates ClientTable first.
	// Required.
	Open func(t testing.TB, cfg uow.Config) *uow.DB

	// Reopen returns the database that Open returned last, which has been closed
	// meanwhile. Default: none, for stores that forget everything.
	Reopen func(t testing.TB, cfg uow.Config) *uow.DB

	// Native writes in the store's own language. Default: none, for stores that
	// have none.
	Native *Native

	// InUse counts the connections, or whatever the store must get back after each
	// transaction, that are in use in the database that Open returned last.
	// Default: none.
	InUse func() int

	// Lacks declares what the store can not do.
	Lacks Capabilities

	// do runs a unit. The tests of the kit replace it, to show that checks of
	// promises that package uow keeps by itself can fail.
	do func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error
	// nested runs a nested unit, likewise.
	nested func(ctx context.Context, u *uow.Unit, fn func(ctx context.Context, u *uow.Unit) error) error
}

// Native writes rows to a table of the user's, which Open has created, in the
// native transaction of a unit.
type Native struct {
	// Insert writes one row with the name.
	Insert func(ctx context.Context, u *uow.Unit, name string) error
	// Count returns how many rows with the name the unit sees.
	Count func(ctx context.Context, u *uow.Unit, name string) (int, error)
}

// Capabilities are what a store may lack. Everything else is expected of every
// store.
type Capabilities struct {
	// Outbox: the store is no outbox.Log, and refuses messages.
	Outbox bool
	// UniqueIndexes: the store refuses collections with unique indexes.
	UniqueIndexes bool
	// ConcurrentFlush: a flush waits, or fails, while another transaction that has
	// flushed is open.
	ConcurrentFlush bool
	// NULBytes: strings that have a NUL byte are refused, but for those in bodies.
	NULBytes bool
	// Nesting: the store's transactions have no nested parts.
	Nesting bool
	// Locking: the store's transactions can't lock rows.
	Locking bool
	// Tables: the store can't keep collections in tables of the user's.
	Tables bool
	// PreciseConflicts: units that ran at the same time as others may be refused
	// with ErrRetryable although no row that they read or wrote was changed, or in
	// place of ErrDuplicate, as PostgreSQL does at SERIALIZABLE. Checks in which that
	// may happen then run such units again.
	PreciseConflicts bool
}

// TestStore runs all checks against a store, but for those of what Harness.Lacks names,
// of which it logs the names.
func TestStore(t *testing.T, h Harness) {
	runAll(t, h, Checks())
}

package uow

import "context"

// Bound is an application's own unit of work: see Bind.
type Bound[R any] struct {
	db    *DB
	build func(u *Unit) R
}

// Bind makes a unit of an application's own type, so that its use cases see
// repositories and no plumbing:
//
//	type Bank struct{ Accounts *uow.Repository[Account] }
//
//	bank := uow.Bind(db, func(u *uow.Unit) Bank {
//		return Bank{Accounts: accounts.In(u)}
//	})
//	err := bank.Do(ctx, func(ctx context.Context, b Bank) error { … })
func Bind[R any](db *DB, build func(u *Unit) R) *Bound[R] {
	return &Bound[R]{db: db, build: build}
}

// Do is DB.Do with the application's type in the place of the unit.
func (b *Bound[R]) Do(ctx context.Context, fn func(ctx context.Context, r R) error) error {
	return b.db.Do(ctx, func(ctx context.Context, u *Unit) error {
		return fn(ctx, b.build(u))
	})
}

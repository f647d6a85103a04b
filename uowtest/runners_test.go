package uowtest

import (
	"context"

	"github.com/uow-go/uow"
)

// Runners that break what package uow keeps by itself, as other libraries do.

// swallowsPanics commits after a panic.
func swallowsPanics() fault {
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
		return db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			defer func() { _ = recover() }()
			return fn(ctx, u)
		})
	}}
}

// commitsInDefer commits unless there was an error or a panic, which
// runtime.Goexit is neither of.
func commitsInDefer() fault {
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) (err error) {
		u := db.Begin()
		defer func() {
			if v := recover(); v != nil {
				_ = u.Close()
				panic(v)
			}
			if err != nil {
				_ = u.Close()
				return
			}
			err = u.Commit(ctx)
		}()
		return fn(ctx, u)
	}}
}

// ignoresContext commits whatever became of the context.
func ignoresContext() fault {
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
		return db.Do(context.WithoutCancel(ctx), fn)
	}}
}

// ignoresErrors commits although the closure failed.
func ignoresErrors() fault {
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
		var failed error
		err := db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			failed = fn(ctx, u)
			return nil
		})
		if failed != nil {
			return failed
		}
		return err
	}}
}

// neverEnds leaves units open.
func neverEnds() fault {
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
		return fn(ctx, db.Begin())
	}}
}

// endsLate commits a unit when the next one begins.
func endsLate() fault {
	var last *uow.Unit
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
		if last != nil {
			if err := last.Commit(ctx); err != nil {
				return err
			}
		}
		last = db.Begin()
		return fn(ctx, last)
	}}
}

// runsTwice repeats what went well.
func runsTwice() fault {
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
		if err := db.Do(ctx, fn); err != nil {
			return err
		}
		return db.Do(ctx, fn)
	}}
}

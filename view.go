package uow

import (
	"context"
	"fmt"
	"time"
)

// View is a snapshot of the database that can only be read: see DB.View. Like a
// unit it belongs to one goroutine at a time.
type View struct {
	unit *Unit
}

// Now returns the view's time, in UTC.
func (v *View) Now() time.Time { return v.unit.now }

// View runs fn with a snapshot of the database. All that fn reads is of one moment;
// nothing can be written, and nothing is tracked: aggregates are plain values, of
// which changes and recorded events are lost. The error of fn comes back as it is.
//
// Config.Retry holds for views too: fn runs again after an ErrRetryable.
func (db *DB) View(ctx context.Context, fn func(ctx context.Context, v *View) error) error {
	ctx, w := db.watchDo(ctx, true)
	defer w.unitEnded()
	return db.again(ctx, func(ctx context.Context) error { return w.attemptEnded(db.look(ctx, w, fn)) })
}

// look is one attempt of View.
func (db *DB) look(ctx context.Context, w *watch, fn func(ctx context.Context, v *View) error) (err error) {
	u := db.newUnit(true)
	u.ctx.Begin(ctx)
	defer u.ctx.End()
	u.options.ReadOnly = true
	u.watch = w.attempted(u)
	defer func() {
		if closed := u.Close(); closed != nil && err == nil {
			err = fmt.Errorf("uow: view: %w", closed)
		}
	}()
	return fn(&u.ctx, &View{unit: u})
}

// From returns the collection's reader in the view. When the collection is not one
// of the DB's, or the view has ended, the reader's methods say so.
func (c *Collection[T]) From(v *View) *Reader[T] { return &Reader[T]{set: c.set(v.unit)} }

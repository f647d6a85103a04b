package uow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/uow-go/uow/driver"
)

// watch collects what the observers of one unit are told, attempts included. A nil
// watch, which is what a DB without observers has, does nothing.
type watch struct {
	db *DB

	// mu is for after-hooks that another goroutine runs by Rollback, and keeps the
	// order of what the observers are told.
	mu      sync.Mutex
	start   UnitStart
	ctx     context.Context // what the observers returned; nil until they were told
	attempt Attempt
	open    bool // the attempt has not ended
	done    bool // the attempt was committed
	ended   bool
}

func (db *DB) newWatch(view bool) *watch {
	if len(db.cfg.Observers) == 0 {
		return nil
	}
	return &watch{db: db, start: UnitStart{Name: db.options.Name, View: view, At: time.Now()}}
}

// watchDo tells of a unit of Do or View, and returns the context for its closure.
func (db *DB) watchDo(ctx context.Context, view bool) (context.Context, *watch) {
	w := db.newWatch(view)
	if w == nil {
		return ctx, nil
	}
	w.started(ctx)
	return w.ctx, w
}

// watched lets a unit of Begin be observed.
func (db *DB) watched(u *Unit) *Unit {
	u.watch = db.newWatch(false).attempted(u)
	return u
}

// started tells of the unit, once.
func (w *watch) started(ctx context.Context) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.startedLocked(ctx)
}

func (w *watch) startedLocked(ctx context.Context) {
	if w.ctx != nil {
		return
	}
	w.ctx = ctx
	w.tell(func(o Observer) {
		if derived := o.UnitStarted(w.ctx, w.start); derived != nil {
			w.ctx = derived
		}
	})
}

// attempted begins an attempt.
func (w *watch) attempted(u *Unit) *watch {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempt = Attempt{Unit: u.id, Number: w.attempt.Number + 1, At: time.Now()}
	w.open, w.done = true, false
	return w
}

// attemptEnded tells of an attempt of Do or View, and returns its error as it is.
func (w *watch) attemptEnded(err error) error {
	if w == nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = w.done || err == nil // a view never commits
	w.attemptEndedLocked(err)
	return err
}

func (w *watch) attemptEndedLocked(err error) {
	if !w.open {
		return
	}
	w.open = false
	w.attempt.Duration = time.Since(w.attempt.At)
	w.attempt.Err = err
	w.attempt.Outcome = outcomeOf(w.attempt.Unit, err)
	if w.done {
		w.attempt.Outcome, w.attempt.Err = Committed, nil
	}
	w.tell(func(o Observer) { o.AttemptEnded(w.ctx, w.attempt) })
}

func outcomeOf(unit string, err error) Outcome {
	doubt, ok := errors.AsType[*InDoubtError](err)
	switch {
	case ok && doubt.Unit == unit:
		return Doubtful
	case errors.Is(err, ErrConflict):
		return Conflicted
	case errors.Is(err, ErrDuplicate):
		return Duplicated
	}
	return RolledBack
}

// unitEnded tells of the end of a unit of Do or View. An attempt that is open then was
// left by a panic or Goexit.
func (w *watch) unitEnded() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attemptEndedLocked(errAbandoned)
	w.unitEndedLocked()
}

func (w *watch) unitEndedLocked() {
	if w.ended {
		return
	}
	w.ended = true
	report := UnitReport{UnitStart: w.start, Duration: time.Since(w.start.At), Attempts: w.attempt.Number, Last: w.attempt}
	w.tell(func(o Observer) { o.UnitEnded(w.ctx, report) })
}

// closed tells of the end of a unit of Begin, if it has ended, and returns err as
// it is.
func (w *watch) closed(ctx context.Context, u *Unit, err error) error {
	if w == nil || u.managed || !u.ended.Load() {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.startedLocked(ctx)
	w.attemptEndedLocked(err)
	w.unitEndedLocked()
	return err
}

// tell calls each observer; a panic of one is logged.
func (w *watch) tell(call func(o Observer)) {
	for _, o := range w.db.cfg.Observers {
		if err := recovered(func() error { call(o); return nil }); err != nil {
			w.db.cfg.Logger.ErrorContext(w.ctx, "uow: observer failed", "observer", fmt.Sprintf("%T", o), "error", err)
		}
	}
}

// now returns the time for called or committed.
func (w *watch) now() time.Time {
	if w == nil {
		return time.Time{}
	}
	return time.Now()
}

// change changes what will be told of the attempt.
func (w *watch) change(fn func(a *Attempt)) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fn(&w.attempt)
}

// called counts a call of the store that began at a time.
func (w *watch) called(began time.Time) {
	if w == nil {
		return
	}
	took := time.Since(began)
	w.change(func(a *Attempt) { a.called(took) })
}

// flushed counts a flush that began at a time.
func (w *watch) flushed(began time.Time, cs *driver.ChangeSet) {
	if w == nil {
		return
	}
	took := time.Since(began)
	w.change(func(a *Attempt) {
		a.called(took)
		a.add(cs)
	})
}

// committed counts a commit that began at a time, well or not.
func (w *watch) committed(began time.Time, cs *driver.ChangeSet) {
	if w == nil {
		return
	}
	took := time.Since(began)
	w.change(func(a *Attempt) {
		a.called(took)
		a.add(cs)
		a.Commit = took
	})
}

// well notes that the unit was committed.
func (w *watch) well() {
	if w == nil {
		return
	}
	w.change(func(*Attempt) { w.done = true })
}

// doubted counts a question what became of the commit.
func (w *watch) doubted() {
	if w == nil {
		return
	}
	w.change(func(a *Attempt) { a.Doubts++ })
}

// hookFailed counts an after-hook that failed.
func (w *watch) hookFailed() {
	if w == nil {
		return
	}
	w.change(func(a *Attempt) { a.FailedHooks++ })
}

// changes returns what was handed to the store so far, for a nested unit's mark.
func (w *watch) changes() Changes {
	if w == nil {
		return Changes{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.attempt.Changes
}

// nested counts a nested unit that was kept, or undone; then before is what had
// been handed to the store when it began.
func (w *watch) nested(kept bool, before Changes) {
	if w == nil {
		return
	}
	w.change(func(a *Attempt) {
		if kept {
			a.NestedKept++
			return
		}
		a.NestedUndone++
		a.Changes = before
	})
}

func (a *Attempt) called(took time.Duration) {
	a.Calls++
	a.Store += took
}

func (c *Changes) add(cs *driver.ChangeSet) {
	for i := range cs.Writes {
		switch w := &cs.Writes[i]; w.Op {
		case driver.Insert:
			c.Inserted++
		case driver.Update:
			c.Updated++
		case driver.Delete:
			c.Deleted++
		}
		c.Bytes += int64(len(cs.Writes[i].Body))
	}
	for i := range cs.Messages {
		c.Bytes += int64(len(cs.Messages[i].Payload))
	}
	c.Checked += len(cs.Checks) + len(cs.Ranges)
	c.Messages += len(cs.Messages)
}

// address adds the observers' headers to messages.
func (w *watch) address(messages []Message) {
	if w == nil || len(messages) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(func(o Observer) {
		source, ok := o.(MessageHeaders)
		if !ok {
			return
		}
		if headers := source.MessageHeaders(w.ctx); len(headers) > 0 {
			for i := range messages {
				messages[i].Headers = withHeaders(messages[i].Headers, headers)
			}
		}
	})
}

// withHeaders returns headers with those of more that they lack. Neither map is
// changed: a message's may be the user's.
func withHeaders(headers, more map[string]string) map[string]string {
	all := make(map[string]string, len(headers)+len(more))
	maps.Copy(all, more)
	maps.Copy(all, headers)
	return all
}

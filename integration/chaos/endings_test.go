package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/integration/internal/stores"
)

var errOwn = errors.New("the closure's own")

// victim is a unit that ends in a wrong way, and what it has done before.
type victim struct {
	*testing.T
	db     *stores.Database
	things *uow.Collection[thing]
	before before
}

// before is what a unit does before its end.
type before struct {
	name string
	sql  bool
	do   func(ctx context.Context, v *victim, u *uow.Unit) error
}

func befores() []before {
	add := func(_ context.Context, v *victim, u *uow.Unit) error { return v.things.In(u).Add(&thing{ID: "never"}) }
	change := func(ctx context.Context, v *victim, u *uow.Unit) error {
		a, err := v.things.In(u).Get(ctx, "a")
		if err == nil {
			a.touch("never")
		}
		return err
	}
	flush := func(ctx context.Context, v *victim, u *uow.Unit) error {
		return errors.Join(change(ctx, v, u), add(ctx, v, u), u.Flush(ctx))
	}
	return []before{
		{name: "added", do: add},
		{name: "changed", do: change},
		{name: "flushed", do: flush},
		{name: "nested", do: func(ctx context.Context, v *victim, u *uow.Unit) error {
			return u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error { return flush(ctx, v, u) })
		}},
		{name: "own SQL", sql: true, do: func(ctx context.Context, v *victim, u *uow.Unit) error {
			return errors.Join(change(ctx, v, u), v.db.Note(ctx, u, "never"))
		}},
	}
}

// ending is a wrong way to end a unit.
type ending struct {
	name string
	// run does a unit, which must leave nothing, and checks the error.
	run func(v *victim)
}

// do runs a unit that does what it does before, and then end.
func (v *victim) do(ctx context.Context, end func(ctx context.Context, u *uow.Unit) error) error {
	return v.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		if err := v.before.do(ctx, v, u); err != nil {
			v.Errorf("before the end: %v", err)
			return err
		}
		return end(ctx, u)
	})
}

func (v *victim) want(err, want error) {
	v.Helper()
	if !errors.Is(err, want) {
		v.Errorf("got %v, want %v", err, want)
	}
}

func endings() []ending {
	return []ending{
		{"error", func(v *victim) {
			err := v.do(v.Context(), func(context.Context, *uow.Unit) error { return errOwn })
			if err != errOwn { //nolint:errorlint // nothing may be joined to it
				v.Errorf("got %v, want the closure's own error, and no failed rollback", err)
			}
		}},
		{"panic", func(v *victim) {
			defer func() {
				if got := recover(); got != errOwn { //nolint:errorlint // the value itself
					v.Errorf("recovered %v, want the value of the panic", got)
				}
			}()
			err := v.do(v.Context(), func(context.Context, *uow.Unit) error { panic(errOwn) })
			v.Errorf("Do has returned %v after a panic", err)
		}},
		{"Goexit", goexit},
		{"cancelled before the commit", func(v *victim) {
			ctx, cancel := context.WithCancel(v.Context())
			v.want(v.do(ctx, func(context.Context, *uow.Unit) error { cancel(); return nil }), context.Canceled)
		}},
		{"cancelled before a read", func(v *victim) {
			ctx, cancel := context.WithCancelCause(v.Context())
			v.want(v.do(ctx, func(ctx context.Context, u *uow.Unit) error {
				cancel(errOwn)
				_, err := v.things.In(u).Get(ctx, "b")
				return err
			}), errOwn)
		}},
		{"deadline", func(v *victim) {
			ctx, cancel := context.WithTimeout(v.Context(), 100*time.Millisecond)
			defer cancel()
			v.want(v.do(ctx, func(ctx context.Context, _ *uow.Unit) error { <-ctx.Done(); return nil }), context.DeadlineExceeded)
		}},
		{"two goroutines", twoGoroutines},
		{"kept after the end", keptAfterTheEnd},
		{"the context of another unit, which has ended", func(v *victim) {
			var ended context.Context
			v.want(v.db.Do(v.Context(), func(ctx context.Context, _ *uow.Unit) error { ended = ctx; return nil }), nil)
			err := v.db.Do(ended, func(ctx context.Context, u *uow.Unit) error { return v.before.do(ctx, v, u) })
			v.want(err, context.Canceled)
		}},
		{"committed by the closure", func(v *victim) {
			v.want(v.do(v.Context(), func(ctx context.Context, u *uow.Unit) error { return u.Commit(ctx) }), uow.ErrManaged)
		}},
		{"rolled back by the closure", func(v *victim) {
			v.want(v.do(v.Context(), func(ctx context.Context, u *uow.Unit) error { return u.Rollback(ctx) }), uow.ErrRolledBack)
		}},
		{"begun, and closed", func(v *victim) {
			u := v.db.Begin()
			v.want(v.before.do(v.Context(), v, u), nil)
			v.want(errors.Join(u.Close(), u.Close(), u.Rollback(v.Context())), nil)
			v.want(u.Commit(v.Context()), uow.ErrUnitClosed)
		}},
		{"a hook that panics", func(v *victim) {
			defer func() {
				if got := recover(); got != errOwn { //nolint:errorlint // the value itself
					v.Errorf("recovered %v, want the value of the panic", got)
				}
			}()
			err := v.do(v.Context(), func(_ context.Context, u *uow.Unit) error {
				return u.BeforeCommit(func(context.Context) error { panic(errOwn) })
			})
			v.Errorf("Do has returned %v after a panic", err)
		}},
	}
}

func goexit(v *victim) {
	ended := make(chan bool)
	go func() {
		returned := false
		defer func() { ended <- !returned }()
		_ = v.do(v.Context(), func(context.Context, *uow.Unit) error { runtime.Goexit(); return nil })
		returned = true
	}()
	if !<-ended {
		v.Error("the goroutine has gone on after Goexit")
	}
}

// twoGoroutines uses a unit while another goroutine is in the middle of an operation
// of it.
func twoGoroutines(v *victim) {
	err := v.do(v.Context(), func(ctx context.Context, u *uow.Unit) error {
		inside, out := make(chan struct{}), make(chan struct{})
		var done sync.WaitGroup
		done.Go(func() {
			v.want(u.Use(ctx, func(driver.Tx) error { close(inside); <-out; return nil }), nil)
		})
		<-inside
		_, get := v.things.In(u).Get(ctx, "b")
		uses := map[string]error{
			"Get":    get,
			"Flush":  u.Flush(ctx),
			"Nested": u.Nested(ctx, func(context.Context, *uow.Unit) error { return nil }),
		}
		if v.db.Note != nil {
			uses["own SQL"] = v.db.Note(ctx, u, "never")
		}
		close(out)
		done.Wait()
		for name, err := range uses {
			if !errors.Is(err, uow.ErrConcurrentUse) {
				v.Errorf("%s: got %v, want ErrConcurrentUse", name, err)
			}
		}
		return get
	})
	v.want(err, uow.ErrConcurrentUse)
}

func keptAfterTheEnd(v *victim) {
	var kept *uow.Unit
	var repo *uow.Repository[thing]
	v.want(v.do(v.Context(), func(_ context.Context, u *uow.Unit) error {
		kept, repo = u, v.things.In(u)
		return errOwn
	}), errOwn)
	_, get := repo.Get(v.Context(), "a")
	uses := map[string]error{
		"Get":      get,
		"Add":      repo.Add(&thing{ID: "never"}),
		"Flush":    kept.Flush(v.Context()),
		"Use":      kept.Use(v.Context(), func(driver.Tx) error { return nil }),
		"a hook":   kept.AfterCommit(func(context.Context) error { return nil }),
		"a nested": kept.Nested(v.Context(), func(context.Context, *uow.Unit) error { return nil }),
	}
	if v.db.Note != nil {
		uses["own SQL"] = v.db.Note(v.Context(), kept, "never")
	}
	for name, err := range uses {
		if !errors.Is(err, uow.ErrUnitClosed) {
			v.Errorf("%s: got %v, want ErrUnitClosed", name, err)
		}
	}
}

// TestEndings ends units in wrong ways, in each state that a unit can be in, on a
// store with two connections at most. Each must tell its error, leave nothing in the
// database, and neither a connection nor a goroutine.
func TestEndings(t *testing.T) {
	for _, s := range stores.All(&local) {
		t.Run(s.Name, func(t *testing.T) {
			noGoroutineLeft(t)
			things := uow.NewCollection[thing]("things")
			db := s.Open(t, stores.Options{Config: uow.Config{Collections: []uow.AnyCollection{things}}, MaxConns: 2})
			v := &victim{T: t, db: db, things: things}
			v.want(db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
				return errors.Join(things.In(u).Add(&thing{ID: "a"}), things.In(u).Add(&thing{ID: "b"}))
			}), nil)
			v.nothing(0)
			base := runtime.NumGoroutine()
			changes := int64(0)
			for _, before := range befores() {
				if before.sql && db.Note == nil {
					continue
				}
				for _, e := range endings() {
					ran := t.Run(before.name+"/"+e.name, func(t *testing.T) {
						e.run(&victim{T: t, db: db, things: things, before: before})
					})
					changes++
					v.goesOn(before.name+"/"+e.name, base+2) // this test's, and that of a context
					v.nothing(changes)
					if !ran || t.Failed() {
						return
					}
				}
			}
		})
	}
}

// goesOn demands that nothing is left behind, and that the next unit goes well.
func (v *victim) goesOn(after string, goroutines int) {
	v.Helper()
	if v.db.InUse != nil {
		until(v, after+": no connection is in use", func() bool { return v.db.InUse() == 0 })
		until(v, after+": no session of the server is in a transaction", func() bool {
			_, busy, err := v.db.Sessions(v.Context())
			v.want(err, nil)
			return busy == 0
		})
	}
	until(v, after+": no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	ctx, cancel := context.WithTimeout(v.Context(), time.Minute)
	defer cancel()
	err := v.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		a, err := v.things.In(u).Get(ctx, "a")
		if err == nil {
			a.touch("after")
		}
		return err
	})
	v.want(err, nil)
}

// nothing demands that only the units in between have left something.
func (v *victim) nothing(changes int64) {
	v.Helper()
	v.want(v.db.Do(v.Context(), func(ctx context.Context, u *uow.Unit) error {
		all, err := v.things.In(u).Find(ctx, uow.Query{})
		if err != nil {
			return err
		}
		got := ""
		for _, a := range all {
			got += fmt.Sprintf("%s %d ", a.ID, a.Count)
		}
		if want := fmt.Sprintf("a %d b 0 ", changes); got != want {
			v.Errorf("there is %q, want %q", got, want)
		}
		if v.db.Notes == nil {
			return nil
		}
		notes, err := v.db.Notes(ctx, u, "")
		if len(notes) != 0 {
			v.Errorf("own SQL has left %v", notes)
		}
		return err
	}), nil)
}

// TestClosedUnderUnits closes a database whose units are open.
func TestClosedUnderUnits(t *testing.T) {
	for _, s := range stores.All(&local) {
		for _, before := range befores() {
			t.Run(s.Name+"/"+before.name, func(t *testing.T) {
				noGoroutineLeft(t)
				things := uow.NewCollection[thing]("things")
				o := stores.Options{Config: uow.Config{Collections: []uow.AnyCollection{things}}, MaxConns: 2}
				db := s.Open(t, o)
				if before.sql && db.Note == nil {
					return
				}
				v := &victim{T: t, db: db, things: things, before: before}
				v.want(db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
					return errors.Join(things.In(u).Add(&thing{ID: "a"}), things.In(u).Add(&thing{ID: "b"}))
				}), nil)
				u := db.Begin()
				v.want(before.do(t.Context(), v, u), nil)
				v.want(db.Close(), nil)
				if err := u.Commit(t.Context()); err == nil {
					t.Error("a unit was committed by a closed store")
				}
				if err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error { return before.do(ctx, v, u) }); err == nil {
					t.Error("a closed store has done a unit")
				}
				if db.InUse != nil {
					until(t, "no connection is in use", func() bool { return db.InUse() == 0 })
				}
				if db.Name == "" {
					return // nothing is kept
				}
				o.Name = db.Name
				v.db = s.Open(t, o)
				v.nothing(0)
			})
		}
	}
}

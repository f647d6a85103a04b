package uow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/mvcc"
	"github.com/uow-go/uow/uowtest"
)

// shattering opens the desk's database so that the nth call of a method panics, or
// ends its goroutine, before it is made or after.
type shattering struct {
	method string
	after  bool
	goexit bool
}

func (s shattering) String() string {
	return fmt.Sprintf("%s, after it was made %v, by Goexit %v", s.method, s.after, s.goexit)
}

func (s shattering) db(d *desk) *uow.DB {
	d.Helper()
	left := 1
	around := func(_ context.Context, c uowtest.Call, do func() error) error {
		if c.Method != s.method || left == 0 {
			return do()
		}
		left--
		if s.after {
			_ = do()
		}
		if s.goexit {
			runtime.Goexit()
		}
		panic(errBoom)
	}
	db, err := uowtest.FaultyDB(d.Context(), d.db, uow.Config{
		Collections: []uow.AnyCollection{d.notes}, Logger: slog.New(slog.DiscardHandler),
	}, uowtest.Faults{Around: around, Doubt: true})
	if err != nil {
		d.Fatal(err)
	}
	return db
}

// each runs fn for each method of a store, and each way to shatter it.
func eachShattering(t *testing.T, fn func(d *desk, s shattering)) {
	t.Helper()
	for _, method := range []string{"Begin", "Get", "GetForUpdate", "Find", "Count", "Flush", "Nest", "Unnest", "Commit", "Rollback"} {
		for _, after := range []bool{false, true} {
			for _, goexit := range []bool{false, true} {
				d := newDesk(t, uow.Config{})
				d.add("old")
				s := shattering{method, after, goexit}
				fn(d, s)
				if n := d.db.Store().(*mvcc.Store).InUse(); n != 0 {
					t.Errorf("%v: %d transactions are open", s, n)
				}
			}
		}
	}
}

// useAll makes each call of a store, but Rollback.
func (d *desk) useAll(ctx context.Context, u *uow.Unit, id string) error {
	notes := d.notes.In(u)
	err := u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
		_, err := notes.GetForUpdate(ctx, "old")
		return errors.Join(err, u.Flush(ctx))
	})
	if err != nil {
		return err
	}
	if _, err := notes.Get(ctx, "nobody"); !errors.Is(err, uow.ErrNotFound) {
		return err
	}
	if _, err := notes.Find(ctx, uow.Query{}); err != nil {
		return err
	}
	if _, err := notes.Count(ctx, uow.Query{}); err != nil {
		return err
	}
	return errors.Join(notes.Add(&note{ID: id}), u.Flush(ctx))
}

// outcome runs fn in a goroutine of its own and returns what it panicked with.
func outcome(fn func()) (returned bool, panicked any) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		fn()
		returned = true
	}()
	<-done
	return returned, panicked
}

// A call of the store that does not return leaves the unit rolled back, no
// transaction open and nothing locked; its panic goes on, but that of a rollback, which
// is an error.
func TestStoreThatPanics(t *testing.T) {
	eachShattering(t, func(d *desk, s shattering) {
		db, undone := s.db(d), 0
		returned, panicked := outcome(func() {
			err := db.Do(d.Context(), func(ctx context.Context, u *uow.Unit) error {
				hook := func(context.Context, error) error { undone++; return nil }
				err := errors.Join(u.AfterRollback(hook), d.useAll(ctx, u, "new"))
				if s.method == "Rollback" && err == nil {
					return errRolled
				}
				return err
			})
			if s.method != "Rollback" || !errors.Is(err, errRolled) || !errors.Is(err, errBoom) {
				t.Errorf("%v: got %v", s, err)
			}
		})
		if s.method == "Rollback" && !s.goexit {
			if !returned {
				t.Errorf("%v: Do should return; panicked with %v", s, panicked)
			}
		} else if returned || (panicked == nil) != s.goexit {
			t.Errorf("%v: returned %v, panicked with %v", s, returned, panicked)
		}
		want := 1
		if s.method == "Commit" || s.method == "Rollback" && s.goexit { // nobody knows; nobody is left to run it
			want = 0
		}
		if undone != want {
			t.Errorf("%v: the AfterRollback hook ran %d times, want %d", s, undone, want)
		}
		if got, want := noteExists(d, "new"), s.method == "Commit" && s.after; got != want {
			t.Errorf("%v: the unit has left a row: %v, want %v", s, got, want)
		}
	})
}

var errRolled = errors.New("uow: the closure failed")

func noteExists(d *desk, id string) (found bool) {
	d.Helper()
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		_, err := notes.Get(ctx, id)
		found = err == nil
		if errors.Is(err, uow.ErrNotFound) {
			err = nil
		}
		return err
	})
	return found
}

// A unit whose closure goes on after a panic of the store is rolled back all the same.
func TestRecoveredPanicOfAStore(t *testing.T) {
	eachShattering(t, func(d *desk, s shattering) {
		if s.goexit || s.method == "Commit" || s.method == "Rollback" {
			return
		}
		err := s.db(d).Do(d.Context(), func(ctx context.Context, u *uow.Unit) error {
			func() {
				defer func() { _ = recover() }()
				_ = d.useAll(ctx, u, "new")
			}()
			if s.method == "Begin" {
				return errRolled // nothing has begun, and the next call may go well
			}
			if err := d.notes.In(u).Add(&note{ID: "late"}); err == nil || !strings.Contains(err.Error(), "panicked") {
				t.Errorf("%v: the unit goes on: %v", s, err)
			}
			return nil
		})
		if err == nil {
			t.Errorf("%v: the unit was committed", s)
		}
		if noteExists(d, "new") || noteExists(d, "late") {
			t.Errorf("%v: the unit has left rows", s)
		}
	})
}

// A unit that its caller ends is rolled back by a commit that panics, without Close.
func TestCommitThatPanics(t *testing.T) {
	for _, hook := range []bool{false, true} {
		d := newDesk(t, uow.Config{})
		d.add("old")
		s := shattering{method: "Commit"}
		if hook {
			s.method = "none"
		}
		u := s.db(d).Begin()
		if err := d.useAll(t.Context(), u, "new"); err != nil {
			t.Fatal(err)
		}
		if hook {
			if err := u.BeforeCommit(func(context.Context) error { panic(errBoom) }); err != nil {
				t.Fatal(err)
			}
		}
		if _, panicked := outcome(func() { _ = u.Commit(t.Context()) }); panicked != errBoom { //nolint:errorlint // the very same
			t.Errorf("it panicked with %v", panicked)
		}
		if err := u.Flush(t.Context()); !errors.Is(err, uow.ErrUnitClosed) {
			t.Errorf("the unit is still open: %v", err)
		}
		if n := d.db.Store().(*mvcc.Store).InUse(); n != 0 {
			t.Errorf("%d transactions are open", n)
		}
	}
}

// What a nested unit's aggregates panic with when they are brought back is no lock.
func TestUndoingThatPanics(t *testing.T) {
	d := newDesk(t, uow.Config{})
	notes := uow.Define(uow.CollectionConfig[note]{Name: "cursed", Codec: cursed{}})
	db, err := uow.Open(t.Context(), d.db.Store(), uow.Config{Collections: []uow.AnyCollection{notes}})
	if err != nil {
		t.Fatal(err)
	}
	_, panicked := outcome(func() {
		_ = db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
			n := &note{ID: "n"}
			return errors.Join(notes.In(u).Add(n), u.Nested(ctx, func(context.Context, *uow.Unit) error {
				n.Text = "changed"
				return errBoom
			}))
		})
	})
	if panicked != errBoom { //nolint:errorlint // the very same
		t.Errorf("it panicked with %v", panicked)
	}
}

// cursed panics when it decodes.
type cursed struct{ lossy }

func (cursed) Decode([]byte, *note) error { panic(errBoom) }

// What packages of stores do at the end of a unit can't keep it from its end.
func TestOnEndThatPanics(t *testing.T) {
	var told []*uow.HookError
	d := newDesk(t, uow.Config{OnHookError: func(_ context.Context, err *uow.HookError) { told = append(told, err) }})
	for _, result := range []error{nil, errBoom} {
		told = nil
		ran := false
		err := d.try(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
			u.OnEnd(func() { panic("end") })
			u.OnEnd(func() { ran = true })
			return errors.Join(notes.Add(&note{ID: fmt.Sprint(result)}), u.Flush(ctx), result)
		})
		if !errors.Is(err, result) || !ran || len(told) != 1 || told[0].Hook != "OnEnd" {
			t.Errorf("got %v, ran %v, told of %v", err, ran, told)
		}
		if n := d.db.Store().(*mvcc.Store).InUse(); n != 0 {
			t.Errorf("%d transactions are open", n)
		}
	}
}

// Open transactions of a store that fails to nest, and to roll back, are not kept.
func TestBeginThatFailsToNest(t *testing.T) {
	d := newDesk(t, uow.Config{})
	db, err := uowtest.FaultyDB(t.Context(), d.db, uow.Config{Collections: []uow.AnyCollection{d.notes}}, uowtest.Faults{
		Around: func(_ context.Context, c uowtest.Call, do func() error) error {
			switch c.Method {
			case "Nest":
				return driver.ErrRetryable
			case "Rollback":
				panic(errBoom)
			}
			return do()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		return u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
			_, err := d.notes.In(u).Get(ctx, "n")
			return err
		})
	})
	if !errors.Is(err, driver.ErrRetryable) || !errors.Is(err, errBoom) {
		t.Errorf("got %v", err)
	}
	if n := d.db.Store().(*mvcc.Store).InUse(); n != 0 {
		t.Errorf("%d transactions are open", n)
	}
}

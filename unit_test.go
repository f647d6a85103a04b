package uow_test

import (
	"context"
	"errors"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

func TestDoCommitsByItself(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		if err := u.Commit(ctx); !errors.Is(err, uow.ErrManaged) {
			t.Errorf("Commit in Do: got %v, want ErrManaged", err)
		}
		return notes.Add(&note{ID: "n"}) // the refusal has not ended the unit
	})
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		_, err := notes.Get(ctx, "n")
		return err
	})
}

func TestRollbackInDo(t *testing.T) {
	d := newDesk(t, uow.Config{})
	for _, end := range []func(u *uow.Unit) error{
		func(u *uow.Unit) error { return u.Rollback(t.Context()) },
		func(u *uow.Unit) error { return u.Close() },
	} {
		err := d.try(func(_ context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
			return errors.Join(notes.Add(&note{ID: "n"}), end(u))
		})
		if err != uow.ErrRolledBack { //nolint:errorlint // nothing may be joined to it
			t.Errorf("got %v, want ErrRolledBack", err)
		}
	}
	err := d.try(func(_ context.Context, u *uow.Unit, _ *uow.Repository[note]) error {
		return errors.Join(u.Close(), errBoom)
	})
	if !errors.Is(err, errBoom) || errors.Is(err, uow.ErrRolledBack) {
		t.Errorf("got %v, want the closure's error", err)
	}
	d.add("n")
}

func TestContextOfDoEndsWithTheUnit(t *testing.T) {
	d := newDesk(t, uow.Config{})
	var kept context.Context
	d.do(func(ctx context.Context, _ *uow.Unit, _ *uow.Repository[note]) error { kept = ctx; return ctx.Err() })
	if kept.Err() == nil {
		t.Error("the closure's context should have ended")
	}
}

func TestCauseOfTheContext(t *testing.T) {
	d := newDesk(t, uow.Config{})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBoom)
	if err := d.db.Do(ctx, func(context.Context, *uow.Unit) error { return nil }); err != errBoom { //nolint:errorlint // the very value
		t.Errorf("got %v, want the cause of the cancellation", err)
	}
}

func TestRollbackErrorIsJoined(t *testing.T) {
	d := newDesk(t, uow.Config{})
	broken := errors.New("broken pipe")
	d.fail(&failing{rollback: broken})
	load := func(result error) error {
		return d.try(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
			_, err := notes.GetMany(ctx, "n")
			return errors.Join(err, result)
		})
	}
	err := load(errBoom)
	if !errors.Is(err, errBoom) || !errors.Is(err, broken) {
		t.Errorf("got %v, want both the closure's error and the rollback's", err)
	}
	if err := load(nil); err != nil {
		t.Errorf("a commit that went well needs no rollback; got %v", err)
	}
	u := d.db.Begin()
	if _, err := d.notes.In(u).GetMany(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	wantError(t, u.Close(), broken, "uow: rollback: broken pipe")
	if err := u.Close(); err != nil {
		t.Errorf("a second Close: got %v, want nil", err)
	}
}

func TestErrorsOfTheStoreAreWrappedOnce(t *testing.T) {
	d := newDesk(t, uow.Config{})
	f := &failing{}
	d.fail(f)
	read := func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		_, err := notes.Get(ctx, "n")
		return err
	}
	find := func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		_, err := notes.Find(ctx, uow.Query{})
		return err
	}
	*f = failing{Store: f.Store, begin: errBoom}
	wantError(t, d.try(read), errBoom, "uow: begin: boom")
	*f = failing{Store: f.Store, get: errBoom}
	wantError(t, d.try(read), errBoom, "uow: notes: get: boom")
	*f = failing{Store: f.Store, find: errBoom}
	wantError(t, d.try(find), errBoom, "uow: notes: find: boom")
	*f = failing{Store: f.Store, commit: errBoom}
	err := d.try(func(_ context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		return notes.Add(&note{ID: "n"})
	})
	if !errors.Is(err, errBoom) {
		t.Errorf("got %v, want the commit's error", err)
	}
}

func TestFailedFlushEndsInRollback(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.add("n")
	u := d.db.Begin()
	flushed := errors.Join(d.notes.In(u).Add(&note{ID: "n"}), u.Flush(t.Context()))
	if !errors.Is(flushed, uow.ErrConflict) {
		t.Fatalf("got %v, want a conflict", flushed)
	}
	for i, err := range []error{u.Append(uow.Message{Type: "t"}), d.notes.In(u).Add(&note{ID: "m"}), u.Commit(t.Context())} {
		if !errors.Is(err, uow.ErrConflict) {
			t.Errorf("use %d after a failed flush: got %v, want its conflict", i, err)
		}
	}
}

func TestUseAgain(t *testing.T) {
	d := newDesk(t, uow.Config{})
	var kept driver.Tx
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		if u.ID() == "" || u.ID() == d.db.Begin().ID() {
			t.Errorf("the unit's id is %q", u.ID())
		}
		err := u.Use(ctx, func(tx driver.Tx) error { kept = tx; return errBoom })
		if !errors.Is(err, errBoom) {
			t.Errorf("Use should return the function's error; got %v", err)
		}
		return u.Use(ctx, func(tx driver.Tx) error {
			if tx != kept {
				t.Error("a unit should have one transaction")
			}
			return nil
		})
	})
}

func TestEventsRecordedOutsideAreNotLostSilently(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.add("n")
	err := d.try(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		n, err := notes.Get(ctx, "n")
		if err != nil {
			return err
		}
		return u.BeforeCommit(func(ctx context.Context) error {
			return u.Use(ctx, func(driver.Tx) error { n.write("during another use"); return nil })
		})
	})
	wantError(t, err, uow.ErrConcurrentUse, "")
	if got := d.payloads(); got != "" {
		t.Errorf("the log has %s, want nothing", got)
	}
}

func TestBind(t *testing.T) {
	d := newDesk(t, uow.Config{})
	type board struct{ Notes *uow.Repository[note] }
	bound := uow.Bind(d.db, func(u *uow.Unit) board { return board{Notes: d.notes.In(u)} })
	var kept board
	err := bound.Do(t.Context(), func(_ context.Context, b board) error {
		kept = b
		return b.Notes.Add(&note{ID: "n"})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Notes.Add(&note{ID: "late"}); !errors.Is(err, uow.ErrUnitClosed) {
		t.Errorf("after the end: got %v, want ErrUnitClosed", err)
	}
	err = bound.Do(t.Context(), func(ctx context.Context, b board) error {
		n, err := b.Notes.Get(ctx, "n")
		if err != nil {
			return err
		}
		n.Text = "new"
		return errBoom
	})
	if err != errBoom { //nolint:errorlint // the very value
		t.Errorf("got %v, want the closure's error", err)
	}
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		n, err := notes.Get(ctx, "n")
		if err == nil && n.Text != "" {
			t.Errorf("the text is %q after a rollback, want none", n.Text)
		}
		return err
	})
}

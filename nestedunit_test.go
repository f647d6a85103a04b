package uow_test

import (
	"context"
	"errors"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

func noteText(t *testing.T, d *desk, id string) (text string) {
	t.Helper()
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		n, err := notes.Get(ctx, id)
		if err == nil {
			text = n.Text
		}
		return err
	})
	return text
}

func TestNestedUnit(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.add("n")
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		n, err := notes.Get(ctx, "n")
		if err != nil {
			return err
		}
		kept, err := u.BeginNested(ctx)
		if err != nil {
			return err
		}
		n.Text = "kept"
		undone, err := u.BeginNested(ctx)
		if err != nil {
			return err
		}
		n.Text = "undone"
		if err := errors.Join(notes.Add(&note{ID: "undone"}), undone.Rollback(), undone.Rollback()); err != nil {
			return err
		}
		if n.Text != "kept" {
			t.Errorf("after the rollback the text is %q, want kept", n.Text)
		}
		if err := undone.Commit(); !errors.Is(err, uow.ErrUnitClosed) {
			t.Errorf("Commit after Rollback: got %v, want ErrUnitClosed", err)
		}
		if err := undone.Use(ctx, nil); !errors.Is(err, uow.ErrUnitClosed) {
			t.Errorf("Use after Rollback: got %v, want ErrUnitClosed", err)
		}
		return kept.Commit()
	})
	if got := noteText(t, d, "n"); got != "kept" {
		t.Errorf("the text is %q, want kept", got)
	}
	d.add("undone") // it was not before
}

func TestNestedUnitLeftOpen(t *testing.T) {
	for name, fn := range map[string]func(ctx context.Context, u *uow.Unit) error{
		"in the unit": func(ctx context.Context, u *uow.Unit) error {
			_, err := u.BeginNested(ctx)
			return err
		},
		"in a hook": func(ctx context.Context, u *uow.Unit) error {
			return u.BeforeCommit(func(ctx context.Context) error {
				_, err := u.BeginNested(ctx)
				return err
			})
		},
		"in a nested unit": func(ctx context.Context, u *uow.Unit) error {
			return u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
				_, err := u.BeginNested(ctx)
				return err
			})
		},
		"in one that is committed": func(ctx context.Context, u *uow.Unit) error {
			outer, err := u.BeginNested(ctx)
			if err != nil {
				return err
			}
			if _, err := u.BeginNested(ctx); err != nil {
				return err
			}
			return outer.Commit()
		},
		"around a closure that it ends in": func(ctx context.Context, u *uow.Unit) error {
			outer, err := u.BeginNested(ctx)
			if err != nil {
				return err
			}
			return u.Nested(ctx, func(context.Context, *uow.Unit) error {
				_ = outer.Commit()
				return nil
			})
		},
	} {
		d := newDesk(t, uow.Config{})
		err := d.try(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
			return errors.Join(notes.Add(&note{ID: "n"}), fn(ctx, u))
		})
		if !errors.Is(err, uow.ErrNestedOpen) {
			t.Errorf("%s: got %v, want ErrNestedOpen", name, err)
		}
		d.add("n") // it was not before
	}
}

// What is left open in a nested unit fails that one alone.
func TestNestedUnitLeftOpenInAFailingPart(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		err := u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
			_, err := u.BeginNested(ctx)
			return errors.Join(err, notes.Add(&note{ID: "part"}), u.Flush(ctx))
		})
		if !errors.Is(err, uow.ErrNestedOpen) {
			t.Errorf("got %v, want ErrNestedOpen", err)
		}
		return notes.Add(&note{ID: "whole"})
	})
	noteText(t, d, "whole")
	d.add("part")
}

func TestNestedUnitWhoseContextEnds(t *testing.T) {
	d := newDesk(t, uow.Config{})
	err := d.try(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		short, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		n, err := u.BeginNested(short)
		if err != nil {
			return err
		}
		cancel(errBoom)
		if err := n.Rollback(); err != nil {
			return err
		}
		if err := notes.Add(&note{ID: "n"}); !errors.Is(err, errBoom) {
			t.Errorf("an operation after it: got %v, want the context's cause", err)
		}
		return nil
	})
	if !errors.Is(err, errBoom) && !errors.Is(err, uow.ErrNestedOpen) {
		t.Errorf("the unit: got %v, want it to fail", err)
	}
	d.add("n")
}

func TestNestedUnitAfterTheEnd(t *testing.T) {
	d := newDesk(t, uow.Config{})
	u := d.db.Begin()
	n, err := u.BeginNested(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Rollback(); err != nil {
		t.Errorf("Rollback: got %v", err)
	}
	for name, err := range map[string]error{
		"Commit":      n.Commit(),
		"Use":         n.Use(t.Context(), func(driver.Tx) error { return nil }),
		"BeginNested": func() error { _, err := u.BeginNested(t.Context()); return err }(),
	} {
		if !errors.Is(err, uow.ErrUnitClosed) {
			t.Errorf("%s: got %v, want ErrUnitClosed", name, err)
		}
	}
}

func TestOnEnd(t *testing.T) {
	d := newDesk(t, uow.Config{})
	for name, end := range map[string]func(u *uow.Unit) error{
		"commit":   func(u *uow.Unit) error { return u.Commit(t.Context()) },
		"rollback": func(u *uow.Unit) error { return u.Rollback(t.Context()) },
		"close":    (*uow.Unit).Close,
	} {
		u, ran := d.db.Begin(), 0
		u.OnEnd(func() { ran++ })
		if ran != 0 {
			t.Errorf("%s: it ran before", name)
		}
		if err := errors.Join(end(u), u.Close()); err != nil {
			t.Fatal(err)
		}
		if ran != 1 {
			t.Errorf("%s: it ran %d times, want once", name, ran)
		}
		u.OnEnd(func() { ran++ })
		if ran != 2 {
			t.Errorf("%s: after the end it did not run at once", name)
		}
	}
}

// TestDoWithANestedUnitRunningElsewhere has a closure that returns while another
// goroutine is in a nested unit: the unit is rolled back, not left open.
func TestDoWithANestedUnitRunningElsewhere(t *testing.T) {
	d := newDesk(t, uow.Config{})
	var kept *uow.Unit
	inside, done := make(chan bool), make(chan error)
	err := d.try(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		kept = u
		go func() {
			done <- u.Nested(ctx, func(ctx context.Context, _ *uow.Unit) error {
				inside <- true
				<-ctx.Done()
				return nil
			})
		}()
		<-inside
		return notes.Add(&note{ID: "n"})
	})
	if err == nil {
		t.Error("the unit was committed")
	}
	if err := kept.Flush(t.Context()); !errors.Is(err, uow.ErrUnitClosed) {
		t.Errorf("the unit after Do: got %v, want ErrUnitClosed", err)
	}
	if err := <-done; err == nil {
		t.Error("the nested unit went well")
	}
	d.add("n")
}

package uow_test

import (
	"context"
	"errors"
	"testing"

	"github.com/uow-go/uow"
)

func TestProjectionsGetEventsInOrder(t *testing.T) {
	var ran trace
	projection := func(name string) uow.Projection {
		return func(_ context.Context, _ *uow.Unit, e uow.Event) error {
			text := e.Value.(written).Text
			ran = append(ran, name+" "+e.AggregateType+"/"+e.AggregateID+" "+e.Type+" "+text)
			return nil
		}
	}
	d := newDesk(t, uow.Config{Projections: []uow.Projection{projection("first"), projection("second")}})
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		b, a := &note{ID: "b"}, &note{ID: "a"}
		err := errors.Join(notes.Add(b), notes.Add(a))
		b.write("1")
		err = errors.Join(err, u.Flush(ctx)) // what was flushed counts too
		a.write("2")
		return errors.Join(err, u.BeforeCommit(func(context.Context) error { b.write("3"); return nil }))
	})
	ran.want(t, "first notes/b written 1, second notes/b written 1, first notes/a written 2, second notes/a written 2, first notes/b written 3, second notes/b written 3")
}

func TestProjectionWritesInTheUnit(t *testing.T) {
	var d *desk
	d = newDesk(t, uow.Config{Projections: []uow.Projection{
		func(_ context.Context, u *uow.Unit, e uow.Event) error {
			if e.AggregateID == "derived" {
				return nil
			}
			derived := &note{ID: "derived"}
			derived.write("from " + e.Value.(written).Text)
			return d.notes.In(u).Add(derived)
		},
	}})
	d.do(func(_ context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		n := &note{ID: "n"}
		n.write("x")
		return notes.Add(n)
	})
	if got, want := d.payloads(), `{"Text":"x"} {"Text":"from x"}`; got != want {
		t.Errorf("the log has %s, want %s", got, want)
	}
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		_, err := notes.Get(ctx, "derived")
		return err
	})
}

func TestProjectionThatFailsRollsBack(t *testing.T) {
	d := newDesk(t, uow.Config{Projections: []uow.Projection{
		func(context.Context, *uow.Unit, uow.Event) error { return errBoom },
	}})
	err := d.try(func(_ context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		n := &note{ID: "n"}
		n.write("x")
		return notes.Add(n)
	})
	wantError(t, err, errBoom, "projection of written of notes/n: boom")
	d.add("n")
	if got := d.payloads(); got != "" {
		t.Errorf("the log has %s, want nothing", got)
	}
}

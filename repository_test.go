package uow_test

import (
	"context"
	"errors"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
)

func TestMisuseOfRepositories(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.add("a", "b")
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		a, err := notes.Get(ctx, "a")
		if err != nil {
			return err
		}
		other := &note{ID: "a"}
		_, version := notes.Version(other)
		for says, err := range map[string]error{
			"notes: add: the aggregate is nil":                      notes.Add(nil),
			"notes: add: the aggregate's id is empty":               notes.Add(&note{}),
			"notes/a: add: the unit has this aggregate already":     notes.Add(a),
			"notes/a: add: the unit has this aggregate":             notes.Add(other),
			"notes: remove: the aggregate is nil":                   notes.Remove(nil),
			"notes/a: remove: the aggregate is not one of this":     notes.Remove(other),
			"notes/x: remove: the aggregate is not one of this":     notes.Remove(&note{ID: "x"}),
			"notes/a: version: the aggregate is not one of this":    version,
			"notes/a: require: the aggregate is not one of this":    notes.Require(other, 1),
			"conflict: notes/a: expected version 7, found version ": notes.Require(a, 7),
		} {
			wantError(t, err, nil, says)
		}
		if err := notes.Remove(a); err != nil {
			return err
		}
		wantError(t, notes.Remove(a), nil, "not one of this unit")
		_, err = notes.Get(ctx, "a")
		wantError(t, err, uow.ErrNotFound, "notes/a")
		return notes.Add(a)
	})
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		_, err := notes.GetMany(ctx, "a", "b")
		return err
	})
}

func TestVersions(t *testing.T) {
	d := newDesk(t, uow.Config{})
	version := func(ctx context.Context, notes *uow.Repository[note], n *note) int64 {
		t.Helper()
		v, err := notes.Version(n)
		if err != nil {
			t.Error(err)
		}
		return v
	}
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		n := &note{ID: "n"}
		if err := notes.Add(n); err != nil {
			return err
		}
		if v := version(ctx, notes, n); v != 0 {
			t.Errorf("an added note has version %d, want 0", v)
		}
		if err := u.Flush(ctx); err != nil {
			return err
		}
		if v := version(ctx, notes, n); v != 1 {
			t.Errorf("a flushed note has version %d, want 1", v)
		}
		n.Text = "more"
		return nil
	})
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		n, err := notes.Get(ctx, "n")
		if err != nil {
			return err
		}
		if v := version(ctx, notes, n); v != 2 || n.Text != "more" {
			t.Errorf("the note has version %d and the text %q, want 2 and more", v, n.Text)
		}
		return notes.Require(n, 2)
	})
}

func TestIDsNeverChange(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.add("n")
	err := d.try(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		n, err := notes.Get(ctx, "n")
		if err == nil {
			n.ID = "m"
		}
		return err
	})
	wantError(t, err, nil, `notes/n: the aggregate's id was changed to "m"`)
}

// fickle is a codec that fails when told.
type fickle struct{ encode, decode error }

func (c *fickle) Encode(n *note) ([]byte, error) { return []byte(n.ID), c.encode }

func (c *fickle) Decode(body []byte, n *note) error { n.ID = string(body); return c.decode }

func TestCodecsThatFail(t *testing.T) {
	codec := &fickle{}
	notes := uow.Define(uow.CollectionConfig[note]{Name: "notes", Codec: codec})
	db, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{notes}})
	if err != nil {
		t.Fatal(err)
	}
	add := func(id string) error {
		return db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error { return notes.In(u).Add(&note{ID: id}) })
	}
	get := func() error {
		return db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
			_, err := notes.In(u).Get(ctx, "n")
			return err
		})
	}
	codec.encode = errBoom
	wantError(t, add("n"), errBoom, "notes/n: encode: boom")
	codec.encode = nil
	if err := errors.Join(add("n"), get()); err != nil {
		t.Fatal(err)
	}
	codec.decode = errBoom
	wantError(t, get(), errBoom, "notes/n: decode: boom")
}

func TestRowThatIsNotItsOwn(t *testing.T) {
	wrong := func(n *note) string { return n.Text + n.ID }
	notes := uow.Define(uow.CollectionConfig[note]{Name: "notes", ID: wrong, Codec: &fickle{}})
	db, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{notes}})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		return notes.In(u).Add(&note{ID: "n", Text: "lost by the codec "})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		_, err := notes.In(u).Find(ctx, uow.Query{})
		return err
	})
	wantError(t, err, nil, `the aggregate in this row says that its id is "n"`)
}

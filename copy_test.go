package uow_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
)

// plain has fields of all kinds of which a copy tells whether they have changed.
type plain struct {
	uow.Events
	ID     string
	N      int32
	Flags  [2]bool
	At     time.Time
	Inner  struct{ A, B string }
	Tags   []string
	hidden int // makes no difference to the encoding
}

// TestChangesAmongMany loads more aggregates than are told apart by their encoding alone,
// and changes each in another way.
func TestChangesAmongMany(t *testing.T) {
	changes := map[string]func(p *plain){
		"number":         func(p *plain) { p.N++ },
		"array":          func(p *plain) { p.Flags[1] = true },
		"time":           func(p *plain) { p.At = p.At.Add(time.Nanosecond) },
		"location":       func(p *plain) { p.At = p.At.In(time.FixedZone("", 3600)) },
		"inner":          func(p *plain) { p.Inner.B = "x" },
		"element":        func(p *plain) { p.Tags[0] = "x" },
		"appended":       func(p *plain) { p.Tags = append(p.Tags, "c") },
		"cut":            func(p *plain) { p.Tags = p.Tags[:1] },
		"emptied":        func(p *plain) { p.Tags = []string{} },
		"no slice":       func(p *plain) { p.Tags = nil },
		"event alone":    func(p *plain) { p.Record(written{}) },
		"nothing":        nil,
		"hidden":         func(p *plain) { p.hidden++ },
		"there and back": func(p *plain) { p.N++; p.N-- },
	}
	unchanged := []string{"nothing", "hidden", "there and back"}
	all := uow.NewCollection[plain]("plain")
	db, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{all}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	do := func(fn func(ctx context.Context, u *uow.Unit) error) {
		t.Helper()
		if err := db.Do(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	do(func(_ context.Context, u *uow.Unit) error {
		for i := range 50 {
			if err := all.In(u).Add(&plain{ID: fmt.Sprint(i), Tags: []string{"a", "b"}}); err != nil {
				return err
			}
		}
		for name := range changes {
			if err := all.In(u).Add(&plain{ID: name, Tags: []string{"a", "b"}, At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}); err != nil {
				return err
			}
		}
		return nil
	})
	do(func(ctx context.Context, u *uow.Unit) error {
		found, err := all.In(u).Find(ctx, uow.Query{})
		for _, p := range found {
			if change := changes[p.ID]; change != nil {
				change(p)
			}
		}
		return err
	})
	do(func(ctx context.Context, u *uow.Unit) error {
		found, err := all.In(u).Find(ctx, uow.Query{})
		for _, p := range found {
			version, err := all.In(u).Version(p)
			want := int64(1)
			if _, listed := changes[p.ID]; listed && !slices.Contains(unchanged, p.ID) {
				want = 2
			}
			if err != nil || version != want {
				t.Errorf("%s has version %d, want %d: %v", p.ID, version, want, err)
			}
		}
		return err
	})
}

// TestChangeTakenBackAfterAFlush has an aggregate be again what was loaded, when the
// database has something else.
func TestChangeTakenBackAfterAFlush(t *testing.T) {
	d := newDesk(t, uow.Config{})
	for i := range 20 {
		d.add(fmt.Sprint("note ", i))
	}
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		found, err := notes.Find(ctx, uow.Query{})
		if err != nil {
			return err
		}
		before := found[7].Text
		found[7].Text = "flushed"
		if err := u.Flush(ctx); err != nil {
			return err
		}
		found[7].Text = before
		return nil
	})
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		found, err := notes.Find(ctx, uow.Query{})
		if err == nil && found[7].Text == "flushed" {
			t.Error("what was taken back is in the database")
		}
		return err
	})
}

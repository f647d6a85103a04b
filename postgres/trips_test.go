package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// TestRoundTrips counts answers of the server, on connections that know the
// statements and on those that do not.
func TestRoundTrips(t *testing.T) {
	for name, options := range map[string]Options{
		"ReadCommitted":  {},
		"RepeatableRead": {Isolation: RepeatableRead},
		"Serializable":   {Isolation: Serializable},
		"Unprepared":     {Statements: Unprepared},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t)
			options.MaxConns = 1
			f := open(t, through(t, p.Address()), options)
			f.Insert("a", "b")
			n := 0
			for _, c := range []struct {
				what string
				want int
				fn   func(ctx context.Context, u *uow.Unit) error
			}{
				{"a unit that only writes", 1, func(_ context.Context, u *uow.Unit) error {
					n++
					return f.Documents.In(u).Add(&document{ID: fmt.Sprint("new", n)})
				}},
				{"load, change, save", 2, func(ctx context.Context, u *uow.Unit) error {
					d, err := f.Documents.In(u).Get(ctx, "a")
					if err == nil {
						d.Count++
					}
					return err
				}},
				{"two reads and two writes", 3, func(ctx context.Context, u *uow.Unit) error {
					for _, id := range []string{"a", "b"} {
						d, err := f.Documents.In(u).Get(ctx, id)
						if err != nil {
							return err
						}
						d.Count++
					}
					return nil
				}},
				{"a unit that only reads", 2, func(ctx context.Context, u *uow.Unit) error {
					_, err := f.Documents.In(u).Get(ctx, "a")
					return err
				}},
				{"a flush and a change after it", 3, func(ctx context.Context, u *uow.Unit) error {
					d, err := f.Documents.In(u).Get(ctx, "a")
					if err != nil {
						return err
					}
					d.Count++
					if err := u.Flush(ctx); err != nil {
						return err
					}
					d.Count++
					return nil
				}},
			} {
				for _, state := range []string{"cold", "warm"} {
					trips := p.Count(func() { f.Must(f.DB.Do(t.Context(), c.fn)) })
					t.Logf("%s, %s: %d", c.what, state, trips)
					if trips != c.want {
						t.Errorf("%s, %s: %d round trips, want %d", c.what, state, trips, c.want)
					}
				}
			}
		})
	}
}

// TestRoundTripsWithEvents has messages too. What tells other processes of them is
// held back meanwhile.
func TestRoundTripsWithEvents(t *testing.T) {
	p := newProxy(t)
	f := open(t, through(t, p.Address()), Options{MaxConns: 1})
	f.Insert("a")
	f.quiet()
	for range 2 {
		if n := p.Count(func() { f.Must(f.Change("a")) }); n != 2 {
			t.Errorf("load, change, save with an event: %d round trips, want 2", n)
		}
		n := p.Count(func() {
			f.Must(f.DB.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
				return outbox.Append(u, outbox.Message{Type: "t"}, outbox.Message{Type: "t"})
			}))
		})
		if n != 1 {
			t.Errorf("two messages: %d round trips, want 1", n)
		}
	}
}

// TestRoundTripsAfterAConflict: statements stay prepared when one of them fails.
func TestRoundTripsAfterAConflict(t *testing.T) {
	p := newProxy(t)
	f := open(t, through(t, p.Address()), Options{MaxConns: 1})
	f.Insert("a")
	stale := &driver.ChangeSet{Unit: "u", Writes: []driver.Write{
		{Op: driver.Update, Collection: "documents", ID: "a", Expected: 7, Version: 8, Body: []byte(`{}`), Indexes: []driver.Value{nil}},
	}}
	for range 2 {
		n := p.Count(func() {
			tx := f.Tx()
			if err := tx.Commit(t.Context(), stale); err == nil {
				t.Fatal("a stale version was written")
			}
		})
		if n != 2 {
			t.Errorf("a conflict: %d round trips, want 2, of which one looks for the version", n)
		}
		if n := p.Count(func() {
			f.Must(f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
				d, err := f.Documents.In(u).Get(ctx, "a")
				if err == nil {
					d.Count++
				}
				return err
			}))
		}); n != 2 {
			t.Errorf("load, change, save after a conflict: %d round trips, want 2", n)
		}
	}
}

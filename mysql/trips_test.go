package mysql

import (
	"context"
	"fmt"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/storetest"
	"github.com/uow-go/uow/outbox"
)

// TestRoundTrips counts the client's packets, each of which waits for an answer.
func TestRoundTrips(t *testing.T) {
	for name, options := range map[string]Options{
		"ReadCommitted":  {},
		"RepeatableRead": {Isolation: RepeatableRead},
		"Serializable":   {Isolation: Serializable},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t)
			options.MaxConns = 1
			f := open(t, through(t, newDatabase(t), p.Address()), options)
			f.quiet()
			f.Insert("a", "b")
			n := 0
			for _, c := range []struct {
				what string
				want int
				fn   func(ctx context.Context, u *uow.Unit) error
			}{
				{"a unit that only writes, with two messages", 1, func(_ context.Context, u *uow.Unit) error {
					n++
					return outbox.Append(u, outbox.Message{Type: "t"}, outbox.Message{Type: fmt.Sprint(n)})
				}},
				{"load, change, save, with an event", 2, func(ctx context.Context, u *uow.Unit) error {
					d, err := f.Documents.In(u).Get(ctx, "a")
					if err == nil {
						d.Add(1)
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
				trips := p.Count(func() { f.Must(f.DB.Do(t.Context(), c.fn)) })
				t.Logf("%s: %d", c.what, trips)
				if trips != c.want {
					t.Errorf("%s: %d round trips, want %d", c.what, trips, c.want)
				}
			}
		})
	}
}

// TestLargeUnits has change sets that are larger than what the server takes at once.
func TestLargeUnits(t *testing.T) {
	f := open(t, "", Options{})
	f.store.maxPacket = 20_000
	cs := insert("large", "a")
	cs.Writes = cs.Writes[:0]
	for _, id := range storetest.Names("row", 300) {
		w := insert("", id).Writes[0]
		w.Body = []byte(`"` + fmt.Sprintf("%0300d", 1) + `"`)
		cs.Writes = append(cs.Writes, w)
	}
	f.Must(f.Tx().Commit(t.Context(), cs))
	for i := range cs.Writes {
		w := &cs.Writes[i]
		w.Op, w.Expected, w.Version = driver.Update, 1, 2
	}
	cs.Unit, cs.Writes[250].Expected = "stale", 7
	err := f.Tx().Commit(t.Context(), cs)
	want := driver.ConflictError{Collection: "documents", ID: cs.Writes[250].ID, Expected: 7, Found: 1}
	if got := new(driver.ConflictError); !asConflict(err, got) || *got != want {
		t.Errorf("got %v, want %v", err, &want)
	}
	rows, err := f.Tx().Get(t.Context(), "documents", []string{"row000", "row299"})
	f.Must(err)
	for _, row := range rows {
		if row.Version != 1 {
			t.Errorf("row %s has version %d: a part of the refused unit was committed", row.ID, row.Version)
		}
	}
}

package postgres

import (
	"testing"
	"time"

	"github.com/uow-go/uow/outbox"
)

// A unit that has appended, and is open, is named; one that has written something else is
// not.
func TestBlockers(t *testing.T) {
	f := open(t, needServer(t), Options{})
	u := f.DB.Begin()
	defer u.Close()
	ask := func(what string, want int) []outbox.Blocker {
		t.Helper()
		all, err := f.store.Blockers(t.Context())
		if err != nil || len(all) != want {
			t.Fatalf("%s: got %+v, %v, want %d", what, all, err, want)
		}
		return all
	}
	flush := func(err error) {
		t.Helper()
		if err == nil {
			err = u.Flush(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	flush(f.Documents.In(u).Add(&document{ID: "d"}))
	ask("without messages", 0)
	flush(outbox.Append(u, outbox.Message{Type: "T"}))
	if b := ask("with a message", 1)[0]; b.Session == "" || b.State != "idle in transaction" || time.Since(b.Since).Abs() > time.Minute {
		t.Errorf("got %+v, want the unit's transaction", b)
	}
	if err := u.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask("after the end", 0)
}

package mysql

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/uow-go/uow/outbox"
)

// A relay asks for a partition while its owner settles messages that are newer than the
// question.
func TestAClaimThatWaitsIsNotTakenForOneOfARestoredLog(t *testing.T) {
	f := open(t, "", Options{})
	lease, err := f.store.Acquire(t.Context(), outbox.Claim{Cursor: "c", Partitions: 1, Owner: "owner", TTL: time.Hour})
	f.must(err)
	settling, err := f.store.db.Begin()
	f.must(err)
	_, err = settling.Exec("SELECT position FROM uow_outbox_cursor WHERE name = 'c' FOR UPDATE")
	f.must(err)
	answer := make(chan error, 1)
	go func() {
		_, err := f.store.Acquire(context.Background(), outbox.Claim{Cursor: "c", Partitions: 1, Owner: "other", TTL: time.Hour})
		answer <- err
	}()
	f.until("the claim waits", func() bool { return f.waiting() > 0 })
	f.must(f.tx().Commit(t.Context(), appending("unit", "m")))
	_, end := f.drain(lease.Position)
	_, err = settling.Exec("UPDATE uow_outbox_cursor SET position = ? WHERE name = 'c'", end)
	f.must(err)
	f.must(settling.Commit())
	if err := <-answer; !errors.Is(err, outbox.ErrLeaseHeld) {
		t.Errorf("got %v, want ErrLeaseHeld", err)
	}
}

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
	f.Must(err)
	settling, err := f.store.db.Begin()
	f.Must(err)
	_, err = settling.Exec("SELECT position FROM uow_outbox_cursor WHERE name = 'c' FOR UPDATE")
	f.Must(err)
	answer := make(chan error, 1)
	go func() {
		_, err := f.store.Acquire(context.Background(), outbox.Claim{Cursor: "c", Partitions: 1, Owner: "other", TTL: time.Hour})
		answer <- err
	}()
	f.Until("the claim waits", func() bool { return f.waiting() > 0 })
	f.Must(f.Tx().Commit(t.Context(), appending("unit", "m")))
	_, end := f.Drain(lease.Position)
	_, err = settling.Exec("UPDATE uow_outbox_cursor SET position = ? WHERE name = 'c'", end)
	f.Must(err)
	f.Must(settling.Commit())
	if err := <-answer; !errors.Is(err, outbox.ErrLeaseHeld) {
		t.Errorf("got %v, want ErrLeaseHeld", err)
	}
}

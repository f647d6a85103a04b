package mysql

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/uow-go/uow/outbox"
)

// TestScanWaitsForWhoCameFirst commits in the other order than positions were given.
func TestScanWaitsForWhoCameFirst(t *testing.T) {
	for _, commit := range []bool{true, false} {
		f := open(t, "", Options{})
		first, second := f.Tx(), f.Tx()
		f.Must(first.Flush(t.Context(), appending("1", "a")))
		f.Must(second.Commit(t.Context(), appending("2", "b")))
		if got, next := f.Drain(0); len(got) > 0 || next != 0 {
			t.Errorf("with an open transaction before it the scan got %v, up to %d", got, next)
		}
		woken := make(chan struct{}, 100)
		defer f.store.Subscribe(func(bool) { woken <- struct{}{} })()
		want := []string{"b"}
		if commit {
			f.Must(first.Commit(t.Context(), appending("1")))
			want = []string{"a", "b"}
		} else {
			f.Must(first.Rollback())
			f.Until("somebody tells that the gap has closed", func() bool { return len(woken) > 0 })
		}
		f.Until("the gap closes", func() bool { got, _ := f.Drain(0); return slices.Equal(got, want) })
	}
}

// TestStrangersDoNotHoldBack has a transaction that wrote elsewhere, a unit that has
// flushed rows but no messages, and a reader of the log, all open.
func TestStrangersDoNotHoldBack(t *testing.T) {
	f := open(t, "", Options{})
	execute(t, f.store, `CREATE TABLE elsewhere (n INT)`)
	stranger, err := f.store.db.Begin()
	f.Must(err)
	defer stranger.Rollback()
	for _, query := range []string{`INSERT INTO elsewhere VALUES (1)`, `SELECT COUNT(*) FROM uow_outbox`} {
		_, err = stranger.Exec(query)
		f.Must(err)
	}
	f.Must(f.Tx().Flush(t.Context(), insert("0", "row")))
	for i := range 5 { // with dead positions in between
		tx := f.Tx()
		f.Must(tx.Flush(t.Context(), appending("dead", "dead")))
		f.Must(tx.Rollback())
		f.Must(f.Tx().Commit(t.Context(), appending(fmt.Sprint(i), fmt.Sprint(i))))
	}
	if got, _ := f.Drain(0); !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("got %v, want all five", got)
	}
}

func TestScanUnderWriters(t *testing.T) {
	open(t, "", Options{MaxConns: 40}).ScanUnderWriters(32, 40)
}

func TestScanOfTopics(t *testing.T) { open(t, "", Options{}).ScanOfTopics() }

func TestHoldOfADiscardedMessageIsIgnored(t *testing.T) {
	f := open(t, "", Options{})
	f.Must(f.Tx().Commit(t.Context(), appending("1", "a", "b")))
	lease, err := f.store.Acquire(t.Context(), outbox.Claim{Cursor: "relay", Force: true})
	f.Must(err)
	hold := outbox.Hold{Position: 1, Key: "k", State: outbox.Parked, Reason: "bad \x00 \xff", Since: time.Unix(1, 0)}
	f.Must(f.store.Settle(t.Context(), lease, outbox.Settlement{Position: 2, Hold: []outbox.Hold{hold}}))
	n, err := f.store.Discard(t.Context(), "relay", []int64{1})
	if n != 1 || err != nil {
		t.Fatalf("discarded %d, %v", n, err)
	}
	f.Must(f.store.Settle(t.Context(), lease, outbox.Settlement{Hold: []outbox.Hold{hold}}))
	if held, err := f.store.Held(t.Context(), "relay", outbox.HeldFilter{}); len(held) != 0 || err != nil {
		t.Errorf("a discarded message is held again: %v, %v", held, err)
	}
}

// What another scan proves after this one has read says nothing of what this one
// could not see: the message was committed in between.
func TestProofsCountForLaterReadsOnly(t *testing.T) {
	f := open(t, "", Options{})
	ctx := t.Context()
	early := f.Tx()
	f.Must(early.Flush(ctx, appending("early", "early")))
	f.Must(f.Tx().Commit(ctx, appending("late", "late")))
	proven, err := f.store.scanner.Proven(ctx)
	f.Must(err)
	rows, err := f.store.readLog(ctx, outbox.Query{Limit: 10})
	f.Must(err)
	f.Must(early.Commit(ctx, appending("")))
	if got, _ := f.Drain(0); !slices.Equal(got, []string{"early", "late"}) {
		t.Fatalf("another scan got %v", got)
	}
	n, err := f.store.scanner.Prefix(ctx, proven, true, rows)
	f.Must(err)
	if n != 0 {
		t.Errorf("a scan that read before the commit of the first message takes %d behind it", n)
	}
}

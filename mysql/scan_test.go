package mysql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// TestScanWaitsForWhoCameFirst commits in the other order than positions were given.
func TestScanWaitsForWhoCameFirst(t *testing.T) {
	for _, commit := range []bool{true, false} {
		f := open(t, "", Options{})
		first, second := f.tx(), f.tx()
		f.must(first.Flush(t.Context(), appending("1", "a")))
		f.must(second.Commit(t.Context(), appending("2", "b")))
		if got, next := f.drain(0); len(got) > 0 || next != 0 {
			t.Errorf("with an open transaction before it the scan got %v, up to %d", got, next)
		}
		woken := make(chan struct{}, 100)
		defer f.store.Subscribe(func(bool) { woken <- struct{}{} })()
		want := []string{"b"}
		if commit {
			f.must(first.Commit(t.Context(), appending("1")))
			want = []string{"a", "b"}
		} else {
			f.must(first.Rollback())
			f.until("somebody tells that the gap has closed", func() bool { return len(woken) > 0 })
		}
		f.until("the gap closes", func() bool { got, _ := f.drain(0); return slices.Equal(got, want) })
	}
}

// TestStrangersDoNotHoldBack has a transaction that wrote elsewhere, a unit that has
// flushed rows but no messages, and a reader of the log, all open.
func TestStrangersDoNotHoldBack(t *testing.T) {
	f := open(t, "", Options{})
	execute(t, f.store, `CREATE TABLE elsewhere (n INT)`)
	stranger, err := f.store.db.Begin()
	f.must(err)
	defer stranger.Rollback()
	for _, query := range []string{`INSERT INTO elsewhere VALUES (1)`, `SELECT COUNT(*) FROM uow_outbox`} {
		_, err = stranger.Exec(query)
		f.must(err)
	}
	f.must(f.tx().Flush(t.Context(), insert("0", "row")))
	for i := range 5 { // with dead positions in between
		tx := f.tx()
		f.must(tx.Flush(t.Context(), appending("dead", "dead")))
		f.must(tx.Rollback())
		f.must(f.tx().Commit(t.Context(), appending(fmt.Sprint(i), fmt.Sprint(i))))
	}
	if got, _ := f.drain(0); !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("got %v, want all five", got)
	}
}

// TestScanUnderWriters has many writers whose commits overtake each other, some of
// which roll back, as a whole or in a nested part, and scanners at different paces: each gets every message that
// was committed, once, by growing positions, and each writer's in their order.
func TestScanUnderWriters(t *testing.T) {
	f := open(t, "", Options{MaxConns: 40})
	const writers, units = 32, 40
	committed := make([][]string, writers)
	stop := make(chan struct{})
	var writing, scanning sync.WaitGroup
	for w := range writers {
		writing.Go(func() { committed[w] = f.write(w, units) })
	}
	got := make([][]outbox.Message, 3)
	for i := range got {
		scanning.Go(func() { got[i] = f.follow(stop, 1+i*10, i == 2) })
	}
	writing.Wait()
	close(stop)
	scanning.Wait()
	want := slices.Concat(committed...)
	slices.Sort(want)
	for i := range got {
		last, ids, next := int64(0), []string{}, map[string]int{}
		for _, m := range got[i] {
			if m.Position <= last {
				t.Fatalf("scanner %d: position %d after %d", i, m.Position, last)
			}
			last = m.Position
			ids = append(ids, m.ID)
			var n int
			if _, err := fmt.Sscan(m.Type, &n); err != nil || n < next[m.Key] {
				t.Errorf("scanner %d: message %s of writer %s came after %d", i, m.Type, m.Key, next[m.Key])
			}
			next[m.Key] = n
		}
		slices.Sort(ids)
		if !slices.Equal(ids, want) {
			t.Errorf("scanner %d: got %d messages, want %d", i, len(ids), len(want))
		}
	}
	t.Logf("%d messages of %d were committed", len(want), 2*writers*units)
}

// write runs units with two messages each, one of them flushed early, and returns
// the ids of those that were committed.
func (f *fixture) write(w, units int) (committed []string) {
	random := rand.New(rand.NewPCG(uint64(w), 3))
	for i := range units {
		cs := func(part string) []string { return []string{fmt.Sprintf("%d-%d-%s", w, i, part)} }
		unit := fmt.Sprintf("%d %d", w, i)
		early, late := appending(unit, cs("early")...), appending(unit, cs("late")...)
		early.Messages[0].Key, late.Messages[0].Key = fmt.Sprint(w), fmt.Sprint(w)
		early.Messages[0].Type, late.Messages[0].Type = fmt.Sprint(2*i), fmt.Sprint(2*i+1)
		tx := f.tx()
		if err := tx.Flush(context.Background(), early); err != nil {
			f.Error(err)
			return committed
		}
		if random.IntN(3) == 0 {
			f.dead(tx, unit)
		}
		for range random.IntN(200) {
			runtime.Gosched()
		}
		if random.IntN(3) == 0 {
			_ = tx.Rollback()
			continue
		}
		if err := tx.Commit(context.Background(), late); err != nil {
			f.Error(err)
			return committed
		}
		committed = append(committed, early.Messages[0].ID, late.Messages[0].ID)
	}
	return committed
}

// dead appends a message in a nested part that is undone.
func (f *fixture) dead(tx driver.Tx, unit string) {
	err := errors.Join(tx.(driver.Nester).Nest(context.Background()), tx.Flush(context.Background(), appending(unit, "dead")),
		tx.(driver.Nester).Unnest(false))
	if err != nil {
		f.Error(err)
	}
}

// follow scans until stop is closed and the end is reached.
func (f *fixture) follow(stop <-chan struct{}, limit int, topics bool) (all []outbox.Message) {
	var some []string
	if topics {
		some = []string{"", "other"}
	}
	for after := int64(0); ; {
		stopping := false
		select {
		case <-stop:
			stopping = true
		default:
		}
		messages, next, err := f.store.Scan(context.Background(), outbox.Query{After: after, Limit: limit, Topics: some})
		if err != nil {
			f.Error(err)
			return all
		}
		all = append(all, messages...)
		if stopping && next == after {
			return all
		}
		after = next
	}
}

func TestScanOfTopics(t *testing.T) {
	f := open(t, "", Options{})
	cs := appending("1", names("m", 30)...)
	for i := range cs.Messages {
		cs.Messages[i].Topic = []string{"a", "b", "c"}[i%3]
	}
	f.must(f.tx().Commit(t.Context(), cs))
	got, next, err := f.store.Scan(t.Context(), outbox.Query{Limit: 4, Topics: []string{"b"}})
	f.must(err)
	if len(got) != 4 || got[3].ID != "m010" || next != got[3].Position {
		t.Errorf("got %v, up to %d", got, next)
	}
	if _, next, err := f.store.Scan(t.Context(), outbox.Query{Limit: 4, Topics: []string{"none"}}); err != nil || next != 30 {
		t.Errorf("a topic without messages: looked up to %d, %v, want 30", next, err)
	}
}

func TestHoldOfADiscardedMessageIsIgnored(t *testing.T) {
	f := open(t, "", Options{})
	f.must(f.tx().Commit(t.Context(), appending("1", "a", "b")))
	lease, err := f.store.Acquire(t.Context(), outbox.Claim{Cursor: "relay", Force: true})
	f.must(err)
	hold := outbox.Hold{Position: 1, Key: "k", State: outbox.Parked, Reason: "bad \x00 \xff", Since: time.Unix(1, 0)}
	f.must(f.store.Settle(t.Context(), lease, outbox.Settlement{Position: 2, Hold: []outbox.Hold{hold}}))
	n, err := f.store.Discard(t.Context(), "relay", []int64{1})
	if n != 1 || err != nil {
		t.Fatalf("discarded %d, %v", n, err)
	}
	f.must(f.store.Settle(t.Context(), lease, outbox.Settlement{Hold: []outbox.Hold{hold}}))
	if held, err := f.store.Held(t.Context(), "relay", outbox.HeldFilter{}); len(held) != 0 || err != nil {
		t.Errorf("a discarded message is held again: %v, %v", held, err)
	}
}

// What another scan proves after this one has read says nothing of what this one
// could not see: the message was committed in between.
func TestProofsCountForLaterReadsOnly(t *testing.T) {
	f := open(t, "", Options{})
	ctx := t.Context()
	early := f.tx()
	f.must(early.Flush(ctx, appending("early", "early")))
	f.must(f.tx().Commit(ctx, appending("late", "late")))
	proven, err := f.store.scanner.Proven(ctx)
	f.must(err)
	rows, err := f.store.readLog(ctx, outbox.Query{Limit: 10})
	f.must(err)
	f.must(early.Commit(ctx, appending("")))
	if got, _ := f.drain(0); !slices.Equal(got, []string{"early", "late"}) {
		t.Fatalf("another scan got %v", got)
	}
	n, err := f.store.scanner.Prefix(ctx, proven, true, rows)
	f.must(err)
	if n != 0 {
		t.Errorf("a scan that read before the commit of the first message takes %d behind it", n)
	}
}

package relay_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// slowSettling is a log whose settlements of a relay wait until they are let go.
func slowSettling(log outbox.Log) (slow *faultyLog, letGo func()) {
	gate := make(chan struct{})
	return &faultyLog{Log: log, fault: func(operation string) (error, error) {
		if operation == "settle" {
			<-gate
		}
		return nil, nil
	}}, func() { close(gate) }
}

// slowly publishes to a destination one message after the other, each of which takes a
// moment, in which all else is done.
func slowly(to *destination) relay.Publisher {
	return relay.Each(func(ctx context.Context, m outbox.Message) relay.Result {
		sleep(time.Millisecond)
		return to.take(ctx, m)
	}, 1)
}

func TestNextBatchIsPublishedWhileTheOneBeforeIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.commit("a", "b", "a", "b", "a", "b")
		log, letGo := slowSettling(f.log)
		r := f.run(relay.Config{Log: log, BatchSize: 2, Publisher: slowly(f.to)})
		pass(10 * time.Millisecond)
		wantIDs(t, "before anything is settled", f.to.arrivals(), "a-1", "b-1", "a-2", "b-2")
		if at := f.cursor().Position; at != 0 {
			t.Errorf("the cursor is at %d before the log has settled anything", at)
		}
		letGo()
		pass(10 * time.Millisecond)
		wantIDs(t, "afterwards", f.to.arrivals(), "a-1", "b-1", "a-2", "b-2", "a-3", "b-3")
		if at := f.cursor().Position; at != 6 {
			t.Errorf("the cursor is at %d, want 6", at)
		}
		r.stop()
	})
}

// Both batches are published again, from the first one on.
func TestNextBatchIsRepeatedWhenTheOneBeforeCouldNotBeSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.commit("a", "a", "a", "a")
		log, letGo := slowSettling(f.log)
		old := f.run(relay.Config{Log: log, BatchSize: 2, Publisher: slowly(f.to)})
		pass(10 * time.Millisecond)
		f.run(relay.Config{BatchSize: 2, Publisher: slowly(f.to)})
		pass(10 * time.Millisecond)
		wantIDs(t, "both relays", f.to.arrivals(), "a-1", "a-2", "a-3", "a-4", "a-1", "a-2", "a-3", "a-4")
		letGo()
		<-old.ended
		if !errors.Is(old.err, relay.ErrLeaseLost) {
			t.Errorf("the old relay returned %v, want ErrLeaseLost", old.err)
		}
		wantOrder(t, "a", f.to.numbers("a"), 4)
	})
}

func TestKeyThatFailedIsNotPassedByTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(fail("a", relay.Retry))
		f.commit("a", "b", "a", "b")
		log, letGo := slowSettling(f.log)
		f.run(relay.Config{Log: log, BatchSize: 2, Publisher: slowly(f.to)})
		pass(10 * time.Millisecond)
		wantIDs(t, "while the failure is being settled", f.to.arrivals(), "b-1", "b-2")
		f.to.set(nil)
		letGo()
		pass(time.Minute)
		wantOrder(t, "a", f.to.numbers("a"), 2)
	})
}

// What was scanned ahead is behind a message that was not published.
func TestOutageForgetsWhatWasScannedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.commit("a", "b", "a", "b")
		var once atomic.Bool
		f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
			if m.ID == "b-1" && once.CompareAndSwap(false, true) {
				return relay.Result{Outcome: relay.Unavailable}
			}
			return relay.Result{Outcome: relay.Stored}
		})
		f.run(relay.Config{BatchSize: 2, Publisher: slowly(f.to)})
		pass(time.Minute)
		wantIDs(t, "all", f.to.arrivals(), "a-1", "b-1", "a-2", "b-2")
	})
}

// A relay that was paused while it published asks before it publishes what it has
// scanned meanwhile.
func TestP21_RelayPausedWhilePublishingAsksBeforeTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.commit("a", "a", "a", "a")
		old := newDestination(t)
		var skew atomic.Int64
		paused := make(chan struct{})
		old.set(func(_ context.Context, m outbox.Message) relay.Result {
			if m.ID == "a-2" {
				<-paused
			}
			return relay.Result{Outcome: relay.Stored}
		})
		r := f.run(relay.Config{
			BatchSize: 2, Publisher: slowly(old), PollInterval: time.Hour,
			Now: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) },
		})
		pass(10 * time.Millisecond)
		f.run(relay.Config{})
		pass(10 * time.Millisecond)
		skew.Store(int64(24 * time.Hour))
		close(paused)
		<-r.ended
		wantIDs(t, "paused relay", old.arrivals(), "a-1", "a-2")
		if !errors.Is(r.err, relay.ErrLeaseLost) {
			t.Errorf("the paused relay returned %v, want ErrLeaseLost", r.err)
		}
	})
}

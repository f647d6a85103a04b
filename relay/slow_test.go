package relay_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

func TestP23_HangingKeyBlocksOthersForOneTimeoutOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(func(ctx context.Context, m outbox.Message) relay.Result {
			if m.Key != "slow" {
				return relay.Result{Outcome: relay.Stored}
			}
			<-ctx.Done()
			return relay.Result{Outcome: relay.Unknown, Err: ctx.Err()}
		})
		f.run(relay.Config{PublishTimeout: 10 * time.Second})
		f.commit("slow", "fast")
		synctest.Wait()
		f.commit("fast")
		began := time.Now()
		for len(f.to.numbers("fast")) < 2 {
			sleep(time.Second)
			synctest.Wait()
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the other key waited %v, want the PublishTimeout of 10s at most", took)
		}
		// From now on the slow key is tried beside the others.
		for range 100 {
			pass(3 * time.Second)
			began := time.Now()
			f.commit("slow", "fast")
			synctest.Wait()
			if time.Since(began) != 0 {
				t.Fatal("the other key had to wait again")
			}
		}
		wantOrder(t, "fast", f.to.numbers("fast"), 102)
	})
}

// A key that is slow, but works, is not cut off in the middle of a message, and
// does not slow down the others.
func TestP23_SlowKeyGoesOnBesideTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(func(ctx context.Context, m outbox.Message) relay.Result {
			if m.Key == "slow" {
				select {
				case <-time.After(4 * time.Second):
				case <-ctx.Done():
					t.Errorf("%s was cut off", m.ID)
					return relay.Result{Outcome: relay.Unknown}
				}
			}
			return relay.Result{Outcome: relay.Stored}
		})
		f.run(relay.Config{PublishTimeout: 10 * time.Second})
		for range 50 {
			f.commit("slow", "fast")
		}
		pass(10 * time.Second)
		wantOrder(t, "fast", f.to.numbers("fast"), 50)
		pass(5 * time.Minute)
		wantOrder(t, "slow", f.to.numbers("slow"), 50)
		if n := len(f.to.arrivals()); n != 100 {
			t.Errorf("%d arrivals, want 100", n)
		}
	})
}

func TestOutageParksNothingAndHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		calls := 0
		f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
			calls++
			return relay.Result{Outcome: relay.Unavailable, Err: errors.New("gone")}
		})
		f.run(relay.Config{MaxAttempts: 3, Publisher: relay.Each(f.to.take, 1)})
		for i := range 500 {
			f.commit(fmt.Sprint(i % 100))
		}
		pass(24 * time.Hour)
		if held := f.held(outbox.HeldFilter{}); len(held) != 0 {
			t.Errorf("%d messages are held, want none", len(held))
		}
		if calls > 24*15 {
			t.Errorf("the publisher was called %d times in a day of outage", calls)
		}
		f.to.set(nil)
		pass(time.Hour)
		for i := range 100 {
			wantOrder(t, fmt.Sprint(i), f.to.numbers(fmt.Sprint(i)), 5)
		}
		if n := len(f.to.arrivals()); n != 500 {
			t.Errorf("%d arrivals, want 500", n)
		}
	})
}

func TestOutageOfHeldMessagesCountsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.run(relay.Config{MaxAttempts: 3})
		f.to.set(fail("a", relay.Retry))
		f.commit("a", "a")
		synctest.Wait()
		f.to.set(fail("a", relay.Unavailable))
		pass(24 * time.Hour)
		held := f.held(outbox.HeldFilter{State: outbox.Retrying})
		if len(held) != 1 || held[0].Attempts != 1 || held[0].Reason != "no" {
			t.Errorf("held is %+v, want a-1 with its one attempt", held)
		}
		f.to.set(nil)
		pass(time.Hour)
		wantOrder(t, "a", f.to.numbers("a"), 2)
	})
}

func TestBrokenPublishers(t *testing.T) {
	for name, broken := range map[string]func([]outbox.Message) []relay.Result{
		"no results":       func([]outbox.Message) []relay.Result { return nil },
		"too many results": func(b []outbox.Message) []relay.Result { return make([]relay.Result, len(b)+1) },
		"zero results":     func(b []outbox.Message) []relay.Result { return make([]relay.Result, len(b)) },
		"panic":            func([]outbox.Message) []relay.Result { panic("broken") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.run(relay.Config{MaxAttempts: 3, Publisher: relay.PublisherFunc(
					func(_ context.Context, b []outbox.Message) []relay.Result { return broken(b) })})
				f.commit("a", "a")
				pass(time.Hour)
				wantIDs(t, "parked", f.heldIDs(outbox.Parked), "a-1")
				wantIDs(t, "waiting", f.heldIDs(outbox.Waiting), "a-2")
			})
		})
	}
}

// A publisher that tries nothing is not asked without pause.
func TestNotTriedIsNotABusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		calls := 0
		f.run(relay.Config{Publisher: relay.PublisherFunc(func(_ context.Context, b []outbox.Message) []relay.Result {
			calls++
			results := make([]relay.Result, len(b))
			for i := range results {
				results[i].Outcome = relay.NotTried
			}
			return results
		})})
		f.commit("a")
		pass(time.Minute)
		if calls < 60 || calls > 130 {
			t.Errorf("%d calls in a minute, want one per Backoff.Min of 500ms", calls)
		}
	})
}

// A publisher that breaks the contract and stores a message of a key though an
// earlier one failed has it sent again, in its turn: none is missing.
func TestMisorderedPublisherGetsAllMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		failing := true
		f.run(relay.Config{PollInterval: time.Hour, Publisher: relay.PublisherFunc(
			func(_ context.Context, b []outbox.Message) []relay.Result {
				results := make([]relay.Result, len(b))
				for i, m := range b {
					if failing && (m.ID == "a-1" || m.ID == "a-3") {
						results[i].Outcome = relay.Retry
						continue
					}
					results[i].Outcome = relay.Stored
					f.to.store(m)
				}
				failing = failing && len(b) != 3 // a-1 goes, and then a-3 fails, once
				if len(b) == 1 && b[0].ID == "a-1" {
					failing = true
					results[0].Outcome = relay.Stored
					f.to.store(b[0])
				}
				return results
			})})
		f.commit("a", "a", "a", "a")
		pass(time.Minute)
		if held := f.held(outbox.HeldFilter{}); len(held) != 0 {
			t.Errorf("still held: %+v", held)
		}
		wantIDs(t, "arrivals", f.to.arrivals(), "a-2", "a-4", "a-1", "a-2", "a-4", "a-3", "a-4")
	})
}

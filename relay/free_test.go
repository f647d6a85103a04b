package relay_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// wantFree commits a message of a key, which must go the way of all others.
func (f *fixture) wantFree(log *faultyLog, key string) {
	f.t.Helper()
	log.counts()
	before := len(f.to.arrivals())
	f.commit(key)
	synctest.Wait()
	if len(f.to.arrivals()) != before+1 {
		f.t.Errorf("a message of key %s, which holds nothing, was not published at once", key)
	}
	if got, want := log.counts(), "map[scan:1 settle:1]"; got != want {
		f.t.Errorf("a message of key %s, which holds nothing, cost %s, want %s", key, got, want)
	}
}

// A key that is free again goes the way of all others, without being held.
func TestP21_DeliveredKeyIsFreeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		log := &faultyLog{Log: f.log}
		f.run(relay.Config{Log: log, PollInterval: time.Hour})
		f.to.set(fail("a", relay.Retry))
		f.commit("a", "a")
		synctest.Wait()
		f.to.set(nil)
		pass(time.Minute)
		wantOrder(t, "a", f.to.numbers("a"), 2)
		f.wantFree(log, "a")
	})
}

// The same when the message was held before the relay started.
func TestP21_KeyIsFreeAgainAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(fail("a", relay.Retry))
		r := f.run(relay.Config{})
		f.commit("a")
		synctest.Wait()
		r.stop()
		f.to.set(nil)
		log := &faultyLog{Log: f.log}
		f.run(relay.Config{Log: log, PollInterval: time.Hour})
		pass(time.Minute)
		wantOrder(t, "a", f.to.numbers("a"), 1)
		f.wantFree(log, "a")
	})
}

func TestP23_DiscardedKeyIsFreeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		log := &faultyLog{Log: f.log}
		r := f.run(relay.Config{Log: log, PollInterval: time.Hour})
		f.to.set(fail("a", relay.Refused))
		f.commit("a")
		synctest.Wait()
		f.to.set(nil)
		if _, err := f.log.Discard(t.Context(), "default", f.positions(outbox.Parked)); err != nil {
			t.Fatal(err)
		}
		r.Wake()
		synctest.Wait()
		f.wantFree(log, "a")
	})
}

func TestReceiverSaysHowLongToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(func(context.Context, outbox.Message) relay.Result {
			return relay.Result{Outcome: relay.Retry, After: time.Hour}
		})
		f.run(relay.Config{})
		f.commit("a")
		synctest.Wait()
		f.to.set(nil)
		pass(59 * time.Minute)
		wantIDs(t, "before", f.to.arrivals())
		pass(time.Minute)
		wantIDs(t, "after an hour", f.to.arrivals(), "a-1")
	})
}

package relay_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

func TestP21_PausedRelayIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		old := newDestination(t)
		resume := make(chan struct{})
		old.set(func(ctx context.Context, m outbox.Message) relay.Result {
			<-resume // as stopped by SIGSTOP
			return relay.Result{Outcome: relay.Stored}
		})
		paused := f.run(relay.Config{Publisher: relay.Each(old.take, 1)})
		f.commit("a", "b")
		synctest.Wait()

		f.run(relay.Config{})
		f.commit("a", "b")
		synctest.Wait()
		wantOrder(t, "a by the newer relay", f.to.numbers("a"), 2)
		before := f.cursor()

		close(resume)
		<-paused.ended
		if !errors.Is(paused.err, relay.ErrLeaseLost) || !errors.Is(paused.err, outbox.ErrLeaseLost) {
			t.Errorf("the paused relay returned %v, want ErrLeaseLost", paused.err)
		}
		if after := f.cursor(); !reflect.DeepEqual(after, before) {
			t.Errorf("the paused relay moved the cursor from %+v to %+v", before, after)
		}
		f.commit("a")
		synctest.Wait()
		wantOrder(t, "a after the fencing", f.to.numbers("a"), 3)
	})
}

// A relay that was paused while idle publishes nothing once it wakes up: it asks
// for its lease first.
func TestP21_IdleRelayNoticesThatItsLeaseIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		old := newDestination(t)
		idle := f.run(relay.Config{Publisher: relay.Each(old.take, 1)})
		synctest.Wait()
		f.run(relay.Config{})
		<-idle.ended
		if !errors.Is(idle.err, relay.ErrLeaseLost) {
			t.Errorf("the idle relay returned %v, want ErrLeaseLost", idle.err)
		}
		f.commit("a")
		synctest.Wait()
		wantIDs(t, "old relay", old.arrivals())
		wantIDs(t, "new relay", f.to.arrivals(), "a-1")
	})
}

func TestP21_PausedClockMakesTheRelayAskFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		old := newDestination(t)
		// The relay's clock jumps as after a long pause, but its timers do not
		// fire: what wakes it is a commit.
		skew := time.Duration(0)
		paused := f.run(relay.Config{
			Publisher:    relay.Each(old.take, 1),
			PollInterval: time.Hour,
			Now:          func() time.Time { return time.Now().Add(skew) },
		})
		synctest.Wait()
		f.run(relay.Config{})
		synctest.Wait()
		skew = 24 * time.Hour
		f.commit("a")
		<-paused.ended
		wantIDs(t, "paused relay", old.arrivals())
		if !errors.Is(paused.err, relay.ErrLeaseLost) {
			t.Errorf("the paused relay returned %v, want ErrLeaseLost", paused.err)
		}
	})
}

// The pause comes between reading the log and publishing.
func TestP21_RelayPausedInAScanAsksBeforePublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		old := newDestination(t)
		skew, jump := time.Duration(0), false
		log := &faultyLog{Log: f.log, fault: func(operation string) (error, error) {
			if jump && operation == "scan" {
				skew = 24 * time.Hour
			}
			return nil, nil
		}}
		paused := f.run(relay.Config{
			Log:          log,
			Publisher:    relay.Each(old.take, 1),
			PollInterval: time.Hour,
			Now:          func() time.Time { return time.Now().Add(skew) },
		})
		synctest.Wait()
		f.run(relay.Config{})
		synctest.Wait()
		jump = true
		f.commit("a")
		<-paused.ended
		wantIDs(t, "paused relay", old.arrivals())
		if !errors.Is(paused.err, relay.ErrLeaseLost) {
			t.Errorf("the paused relay returned %v, want ErrLeaseLost", paused.err)
		}
	})
}

// A settlement whose answer was lost is repeated, and the first one comes to the database
// when the relay has long gone on.
func TestP21_SettlementThatComesLateMovesNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		log := &lateLog{Log: f.log}
		running := f.run(relay.Config{Log: log})
		for range 2 {
			f.commit("a", "b")
			pass(time.Minute)
		}
		before := f.cursor()
		if err := log.comes(); !errors.Is(err, outbox.ErrRestored) {
			t.Errorf("the first settlement came late: got %v, want ErrRestored", err)
		}
		if after := f.cursor(); after.Position != before.Position {
			t.Errorf("the first settlement came late, and moved the cursor from %d to %d", before.Position, after.Position)
		}
		f.commit("a", "b")
		pass(time.Minute)
		wantIDs(t, "all", f.to.arrivals(), "a-1", "b-1", "a-2", "b-2", "a-3", "b-3")
		running.stop()
	})
}

// lateLog loses its first settlement, which comes later.
type lateLog struct {
	outbox.Log
	comes func() error
}

func (l *lateLog) Settle(ctx context.Context, lease outbox.Lease, s outbox.Settlement) error {
	if l.comes == nil && s.Position > 0 {
		l.comes = func() error { return l.Log.Settle(context.WithoutCancel(ctx), lease, s) }
		return errFault
	}
	return l.Log.Settle(ctx, lease, s)
}

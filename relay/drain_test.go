package relay_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(func(ctx context.Context, m outbox.Message) relay.Result {
			sleep(3 * time.Second)
			return relay.Result{Outcome: relay.Stored}
		})
		r := f.run(relay.Config{DrainTimeout: 10 * time.Second})
		f.commit("a", "a", "b")
		synctest.Wait()
		began := time.Now()
		r.stop()
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("Run returned after %v, want 6s: what the publisher needs", took)
		}
		wantOrder(t, "a", f.to.numbers("a"), 2)
		wantOrder(t, "b", f.to.numbers("b"), 1)
		if c := f.cursor(); c.Position != 3 || c.Retrying+c.Waiting != 0 {
			t.Errorf("the drained relay left %+v", c)
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(func(ctx context.Context, m outbox.Message) relay.Result {
			if m.Key == "b" {
				return relay.Result{Outcome: relay.Stored}
			}
			<-ctx.Done()
			return relay.Result{Outcome: relay.Unknown, Err: ctx.Err()}
		})
		r := f.run(relay.Config{DrainTimeout: 4 * time.Second})
		f.commit("a", "b", "a")
		synctest.Wait()
		began := time.Now()
		r.stop()
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("Run returned after %v, want the DrainTimeout of 4s", took)
		}
		wantIDs(t, "retrying", f.heldIDs(outbox.Retrying), "a-1")
		wantIDs(t, "waiting", f.heldIDs(outbox.Waiting), "a-2")
		f.to.set(nil)
		f.run(relay.Config{})
		pass(time.Minute)
		wantOrder(t, "a", f.to.numbers("a"), 2)
		if n := len(f.to.arrivals()); n != 3 {
			t.Errorf("%d arrivals, want 3", n)
		}
	})
}

func TestDrainGivesUpOnADeadLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		dead := errors.New("log is dead")
		r := f.run(relay.Config{DrainTimeout: 4 * time.Second, Log: &faultyLog{Log: f.log, fault: func(op string) (error, error) {
			if op == "settle" {
				return dead, nil
			}
			return nil, nil
		}}})
		f.commit("a")
		synctest.Wait()
		began := time.Now()
		if err := r.end(); !errors.Is(err, dead) {
			t.Errorf("Run returned %v, want the log's error", err)
		}
		if took := time.Since(began); took < 8*time.Second || took > 14*time.Second {
			t.Errorf("Run returned after %v, want about twice the DrainTimeout of 4s", took)
		}
	})
}

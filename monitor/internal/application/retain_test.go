package application_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/uow-go/uow"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

func (w *world) retain(keep time.Duration) (int, error) {
	r := application.Retention{DB: w.db, State: w.state, Keep: keep, Clock: func() time.Time { return w.now }}
	return r.Run(context.Background())
}

func TestRetentionDeletesOldHistoryAndKeepsTheRest(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		w.eval(0, down("a"))   // 1 transition, 2 deliveries
		w.eval(100)            // the same, and a gap
		w.eval(200, down("b")) // the same, and a gap
		states := map[string]domain.DeliveryState{"pager": domain.Delivered, "chat": domain.Undelivered}
		w.do(func(ctx context.Context, u *uow.Unit) error {
			all, err := w.state.Deliveries.In(u).Find(ctx, uow.Query{})
			for _, d := range all {
				d.State = states[d.Destination]
			}
			return err
		})
		w.put(domain.Attempt{ID: "old", StartedAt: at(99), Outcome: domain.OutcomeDelivered}, domain.Attempt{ID: "edge", StartedAt: at(101)})
		evaluations, alerts, messages := found(w, w.state.Evaluations), len(w.alerts()), len(w.messages())

		w.now = at(101).Add(time.Hour)
		deleted, err := w.retain(time.Hour)
		if err != nil || deleted != 2+2+1+1 {
			t.Errorf("deleted %d, %v; want 2 transitions, 2 deliveries, 1 line and 1 gap", deleted, err)
		}
		if got, want := w.story(), "b:firing"; got != want {
			t.Errorf("transitions: %s, want %s", got, want)
		}
		kept := map[string]int{}
		for _, d := range w.deliveries() {
			kept[d.Destination]++
		}
		if kept["pager"] != 1 || kept["chat"] != 3 {
			t.Errorf("kept deliveries: %v, want the newest one of pager and all undelivered ones of chat", kept)
		}
		if lines := w.attempts(); len(lines) != 1 || lines[0].ID != "edge" {
			t.Errorf("lines: %+v", lines)
		}
		if gaps := found(w, w.state.Gaps); len(gaps) != 1 || !gaps[0].To.Equal(at(200)) {
			t.Errorf("gaps: %+v", gaps)
		}
		if len(found(w, w.state.Evaluations)) != len(evaluations) || len(w.alerts()) != alerts || len(w.messages()) != messages {
			t.Error("retention touched the state or the outbox")
		}
		if again, err := w.retain(time.Hour); again != 0 || err != nil {
			t.Errorf("again: deleted %d, %v", again, err)
		}
	})
}

func TestRetentionDeletesWhatWasGivenUp(t *testing.T) {
	w := newWorld(t)
	w.do(func(_ context.Context, u *uow.Unit) error {
		for _, state := range []domain.DeliveryState{domain.Delivered, domain.Refused, domain.Abandoned, domain.Undelivered} {
			if err := w.state.Deliveries.In(u).Add(&domain.Delivery{ID: string(state), State: state, CreatedAt: at(0)}); err != nil {
				return err
			}
		}
		return nil
	})
	w.now = at(3601)
	if n, err := w.retain(time.Hour); n != 3 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
	if left := w.deliveries(); len(left) != 1 || left[0].State != domain.Undelivered {
		t.Errorf("left: %+v", left)
	}
}

func TestRetentionGoesOnInBatches(t *testing.T) {
	w := newWorld(t)
	const many = 1001
	lines := make([]domain.Attempt, many)
	for i := range lines {
		lines[i] = domain.Attempt{ID: fmt.Sprint(i), StartedAt: at(0)}
	}
	w.put(lines...)
	w.now = at(3601)
	w.probe.inject(nil)
	if n, err := w.retain(time.Hour); n != many || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
	for _, cs := range w.probe.commits {
		if len(cs.Writes) > 200 {
			t.Errorf("one unit with %d writes", len(cs.Writes))
		}
	}
}

func TestRetentionOfNothingKeepsAll(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	before := w.dump()
	w.now = at(1 << 30)
	if n, err := w.retain(0); n != 0 || err != nil || w.dump() != before {
		t.Errorf("deleted %d, %v", n, err)
	}
}

func TestRetentionCountsWhatWasCommitted(t *testing.T) {
	w := newWorld(t)
	w.put(domain.Attempt{ID: "old", StartedAt: at(0)})
	w.now = at(3601)
	w.probe.inject(func(step string) error {
		if step == "before commit" && len(w.probe.commits[len(w.probe.commits)-1].Writes) > 0 {
			return errBroken
		}
		return nil
	})
	if n, err := w.retain(time.Hour); n != 0 || err == nil {
		t.Errorf("deleted %d, %v; nothing was committed", n, err)
	}
}

package promises_test

import (
	"fmt"
	"testing"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

// TestS7_ShorterThanAnyGrouping: an alert that fires for one slot is told.
func TestS7_ShorterThanAnyGrouping(t *testing.T) {
	s := newScene(t, plain)
	p := s.Start(t)
	s.exporter.Set("level", 1)
	s.WaitKinds(t, "High", "firing")
	s.exporter.Set("level", 0)
	s.WaitKinds(t, "High", "firing resolved")
	p.Stop(t)
	p = s.Start(t)
	s.WaitDelivered(t)
	p.Stop(t)
	s.expect(t, "firing resolved")
}

// TestS9_TheReceiverFailsAllTheTime: an alert that begins and ends while the
// receiver fails is told afterwards, beginning and end, also when tocsin is killed
// in between.
func TestS9_TheReceiverFailsAllTheTime(t *testing.T) {
	s := newScene(t, plain)
	s.receiver.AnswerAll(tocsintest.Fail)
	p := s.Start(t)
	s.exporter.Set("level", 1)
	s.WaitKinds(t, "High", "firing")
	s.exporter.Set("level", 0)
	s.WaitKinds(t, "High", "firing resolved")
	attempts := func(n int) {
		t.Helper()
		tocsintest.Eventually(t, fmt.Sprintf("%d attempts", n), func() error {
			if got := len(s.receiver.Requests()); got < n {
				return fmt.Errorf("%d attempts", got)
			}
			return nil
		})
	}
	attempts(2)
	p.Kill()
	p = s.Start(t)
	attempts(3)
	s.receiver.AnswerAll(tocsintest.OK)
	s.WaitDelivered(t)
	p.Stop(t)
	s.expect(t, "firing resolved")
}

// TestS10_ASlowReceiver: a receiver that answers too late gets the same thing
// again, and can know it by its id.
func TestS10_ASlowReceiver(t *testing.T) {
	s := newScene(t, plain)
	s.receiver.AnswerBy(func(r tocsintest.Request) tocsintest.Answer {
		if r.Order < 2 {
			return tocsintest.Late
		}
		return tocsintest.OK
	})
	p := s.Start(t)
	s.exporter.Set("level", 1)
	s.WaitKinds(t, "High", "firing")
	s.WaitDelivered(t)
	p.Stop(t)
	requests := s.receiver.Requests()
	if len(requests) != 3 {
		t.Fatalf("%d requests, want 3", len(requests))
	}
	for i, r := range requests {
		if r.ID != requests[0].ID || r.ID == "" || r.Attempt != i+1 || string(r.Body) != string(requests[0].Body) {
			t.Errorf("request %d has id %q and attempt %d, the first had %q", i+1, r.ID, r.Attempt, requests[0].ID)
		}
	}
	s.expect(t, "firing")
}

// TestS10b_TheConnectionBreaks: a broken connection makes one attempt, not two
// of which the ledger has one.
func TestS10b_TheConnectionBreaks(t *testing.T) {
	s := newScene(t, plain)
	s.receiver.AnswerBy(func(r tocsintest.Request) tocsintest.Answer {
		if r.Order == 1 { // on the connection that the first request made
			return tocsintest.Dropped
		}
		return tocsintest.OK
	})
	p := s.Start(t)
	s.exporter.Set("level", 1)
	s.WaitKinds(t, "High", "firing")
	s.WaitDelivered(t)
	s.exporter.Set("level", 0)
	s.WaitKinds(t, "High", "firing resolved")
	s.WaitDelivered(t)
	p.Stop(t)
	s.expect(t, "firing resolved")
}

// TestS11_OneFailedAttempt: one failure delays a notification, and drops nothing.
func TestS11_OneFailedAttempt(t *testing.T) {
	s := newScene(t, `- {alert: High, expr: level > 0}
- {alert: Higher, expr: level > 0}`)
	s.receiver.AnswerBy(func(r tocsintest.Request) tocsintest.Answer {
		if r.Attempt == 1 {
			return tocsintest.Fail
		}
		return tocsintest.OK
	})
	p := s.Start(t)
	s.exporter.Set("level", 1)
	s.WaitKinds(t, "High", "firing")
	s.WaitDelivered(t)
	s.exporter.Set("level", 0)
	s.WaitKinds(t, "High", "firing resolved")
	s.WaitKinds(t, "Higher", "firing resolved")
	s.WaitDelivered(t)
	p.Stop(t)
	for _, d := range s.History(t).Deliveries {
		if d.Attempts != 2 {
			t.Errorf("notification of %s took %d attempts, want 2: %s", d.Transition, d.Attempts, d.LastAnswer)
		}
	}
	s.expect(t, "firing resolved; firing resolved")
}

// TestS16_TheExporterBreaks: an exporter that fails, hangs or talks nonsense does
// not resolve the alerts of what it watches.
func TestS16_TheExporterBreaks(t *testing.T) {
	for _, behaviour := range []tocsintest.Behaviour{tocsintest.Failing, tocsintest.Hanging, tocsintest.Garbage} {
		t.Run(string(behaviour), func(t *testing.T) {
			s := newScene(t, plain)
			p := s.Start(t)
			s.exporter.Set("level", 1)
			s.WaitKinds(t, "High", "firing")
			s.exporter.Behave(behaviour)
			held := s.WaitKinds(t, "High", "firing held")[1]
			if held.Hold != "stale" || held.To != "firing" {
				t.Errorf("held as %s because of %q", held.To, held.Hold)
			}
			p.Kill() // a start with a broken exporter is no end either
			p = s.Start(t)
			s.WaitSlots(t, 4)
			s.still(t, "firing held")
			s.exporter.Behave(tocsintest.Healthy)
			s.WaitKinds(t, "High", "firing held hold_ended")
			s.exporter.Set("level", 0)
			s.WaitKinds(t, "High", "firing held hold_ended resolved")
			p.Stop(t)
			s.expect(t, "firing held hold_ended resolved")
		})
	}
}

package promises_test

import (
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

const plain = `- {alert: High, expr: level > 0}`

// outage lets tocsin be down for longer than a few of its slots.
func outage(t *testing.T) {
	t.Helper()
	tocsintest.Pass(t, 5*evaluationInterval)
}

// TestS1_ClearedInAShortOutage: the fault clears while tocsin is dead. The sample
// from before must not make the alert fire again.
func TestS1_ClearedInAShortOutage(t *testing.T) {
	s := newScene(t, plain)
	p := s.Start(t)
	s.exporter.Set("level", 1)
	s.WaitKinds(t, "High", "firing")
	s.WaitDelivered(t)
	p.Kill()
	s.exporter.Set("level", 0)
	p = s.Start(t)
	transitions := s.WaitKinds(t, "High", "firing resolved")
	if firing, resolved := transitions[0], transitions[1]; !resolved.FiredAt.Equal(firing.FiredAt) {
		t.Errorf("resolved, it began at %v, and it fired at %v", resolved.FiredAt, firing.FiredAt)
	}
	s.WaitSlots(t, 5) // nothing follows
	p.Stop(t)
	s.still(t, "firing resolved")
	s.expect(t, "firing resolved")
}

// TestS1x_ClearedInALongOutage: as S1, with slots missed, and twice, so that the
// second start finds nothing that would remind it.
func TestS1x_ClearedInALongOutage(t *testing.T) {
	s := newScene(t, plain)
	p := s.Start(t)
	s.exporter.Set("level", 1)
	s.WaitKinds(t, "High", "firing")
	p.Kill()
	s.exporter.Set("level", 0)
	outage(t)
	s.Start(t).Kill() // it may come to a slot or not
	outage(t)
	p = s.Start(t)
	s.WaitKinds(t, "High", "firing resolved")
	p.Stop(t)
	if len(s.History(t).Gaps) == 0 {
		t.Error("no gap was recorded")
	}
	s.expect(t, "firing resolved")
}

// TestS1b_TheFaultOutlastsTheOutage: the receiver must not be told of an end, nor
// of a second beginning.
func TestS1b_TheFaultOutlastsTheOutage(t *testing.T) {
	s := newScene(t, plain)
	p := s.Start(t)
	s.exporter.Set("level", 1)
	firing := s.WaitKinds(t, "High", "firing")[0]
	s.WaitDelivered(t)
	p.Kill()
	outage(t)
	p = s.Start(t)
	s.WaitSlots(t, 5)
	s.still(t, "firing")
	s.exporter.Set("level", 0)
	resolved := s.WaitKinds(t, "High", "firing resolved")[1]
	if !resolved.ActiveAt.Equal(firing.ActiveAt) || !resolved.FiredAt.Equal(firing.FiredAt) {
		t.Errorf("it began at %v and %v after the outage, at %v and %v before",
			resolved.ActiveAt, resolved.FiredAt, firing.ActiveAt, firing.FiredAt)
	}
	p.Stop(t)
	s.expect(t, "firing resolved")
}

// TestS2_PendingSurvivesAKill: the time that a condition has been true is kept
// over kill -9, and the outage is not part of it.
func TestS2_PendingSurvivesAKill(t *testing.T) {
	const hold = 4 * time.Second
	s := newScene(t, `- {alert: High, expr: level > 0, for: 4s}`)
	p := s.Start(t)
	s.exporter.Set("level", 1)
	pending := s.WaitKinds(t, "High", "pending")[0]
	s.WaitSlots(t, 3)
	p.Kill()
	outage(t)
	p = s.Start(t)
	firing := s.WaitKinds(t, "High", "pending firing")[1]
	p.Stop(t)
	history := s.History(t)
	if len(history.Gaps) == 0 {
		t.Fatal("no gap was recorded")
	}
	watched := evaluated(history, pending.Slot, firing.Slot)
	if watched < hold || watched >= hold+evaluationInterval {
		t.Errorf("it fired after the condition was seen true for %v in %d slots, want %v and less than a slot more",
			watched, watched/evaluationInterval, hold)
	}
	s.expect(t, "firing")
}

// TestS2count_OutagesCountWhereConfigured: with on_gap: count the outage is part
// of the time.
func TestS2count_OutagesCountWhereConfigured(t *testing.T) {
	const hold = 4 * time.Second
	s := newScene(t, `- {alert: High, expr: level > 0, for: 4s}`, "on_gap: count")
	p := s.Start(t)
	s.exporter.Set("level", 1)
	pending := s.WaitKinds(t, "High", "pending")[0]
	p.Kill()
	outage(t)
	p = s.Start(t)
	firing := s.WaitKinds(t, "High", "pending firing")[1]
	p.Stop(t)
	if d := firing.Slot.Sub(pending.Slot); d < hold {
		t.Errorf("it fired %v after it was pending, want at least %v", d, hold)
	}
	// It fires at the first slot that is late enough, unless that was missed.
	for _, gap := range s.History(t).Gaps {
		if gap.To.Before(firing.Slot) && firing.Slot.Sub(pending.Slot) >= hold+evaluationInterval {
			t.Errorf("it fired %v after it was pending: the outage did not count", firing.Slot.Sub(pending.Slot))
		}
	}
	s.expect(t, "firing")
}

// TestS3_KeepFiringForSurvivesAKill: an alert that is kept firing after its
// condition became false ends at its time, and its end is told.
func TestS3_KeepFiringForSurvivesAKill(t *testing.T) {
	const keep = 4 * time.Second
	s := newScene(t, `- {alert: High, expr: level > 0, keep_firing_for: 4s}`)
	p := s.Start(t)
	s.exporter.Set("level", 1)
	firing := s.WaitKinds(t, "High", "firing")[0]
	s.exporter.Set("level", 0)
	s.exporter.WaitScraped(t)
	s.WaitSlots(t, 3)
	p.Kill()
	outage(t)
	p = s.Start(t)
	resolved := s.WaitKinds(t, "High", "firing resolved")[1]
	p.Stop(t)
	if watched := evaluated(s.History(t), firing.Slot, resolved.Slot); watched < keep {
		t.Errorf("it ended after %v, want at least %v", watched, keep)
	}
	s.expect(t, "firing resolved")
}

// TestS2b_StopAndStart: an orderly stop changes nothing either.
func TestS2b_StopAndStart(t *testing.T) {
	s := newScene(t, plain)
	s.exporter.Set("level", 1)
	for i := range 3 {
		p := s.Start(t)
		s.WaitKinds(t, "High", "firing")
		if i > 0 {
			s.WaitSlots(t, 2)
		}
		p.Stop(t)
	}
	s.exporter.Set("level", 0)
	p := s.Start(t)
	s.WaitKinds(t, "High", "firing resolved")
	p.Stop(t)
	s.expect(t, "firing resolved")
}

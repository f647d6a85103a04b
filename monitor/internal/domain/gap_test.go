package domain_test

import (
	"testing"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// TestGapShiftDoesNotCountDowntime is the case of an end after 15 of 20 seconds
// and an outage of 14: the alert fires after 5 more evaluated seconds.
func TestGapShiftDoesNotCountDowntime(t *testing.T) {
	for _, policy := range []domain.GapPolicy{"", domain.GapShift} {
		w := newWorld(t, domain.Rule{For: 20 * second})
		w.policy = policy
		w.each(0, 15, values("a"))
		check(t, "transitions", w.each(30, 40, values("a")), "34:firing")
		checkTime(t, "active at", w.alert().ActiveAt, at(14))
		check(t, "missed", w.evaluations.Missed, 14)
	}
}

func TestGapPolicies(t *testing.T) {
	for _, c := range []struct {
		policy          domain.GapPolicy
		active          float64 // ActiveAt of the pending alert after the gap
		fires           string
		since           float64 // KeepFiringSince of the firing alert after the gap
		keepFiringEnded string
	}{
		{domain.GapShift, 14, "24:firing", 17, "27:resolved"},
		{domain.GapCount, 0, "20:firing", 3, "20:resolved"},
		{domain.GapReset, 20, "30:firing", 20, "30:resolved"},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			w := newWorld(t, domain.Rule{For: 10 * second})
			w.policy = c.policy
			w.each(0, 5, values("a"))
			check(t, "fires", w.each(20, 40, values("a")), c.fires)
			checkTime(t, "active at", w.alert().ActiveAt, at(c.active))

			w = newWorld(t, domain.Rule{KeepFiringFor: 10 * second})
			w.policy = c.policy
			w.each(0, 2, values("a"))
			w.each(3, 5, values())
			check(t, "resolves", w.each(20, 40, values()), c.keepFiringEnded)
			checkTime(t, "since", w.alert().KeepFiringSince, at(c.since))
		})
	}
}

func TestGapKeepsTheStartOfAFiringAlert(t *testing.T) {
	for _, policy := range []domain.GapPolicy{domain.GapShift, domain.GapCount, domain.GapReset} {
		w := newWorld(t, domain.Rule{For: 10 * second})
		w.policy = policy
		w.each(0, 10, values("a"))
		check(t, "transitions", w.each(50, 60, values("a")), "")
		checkTime(t, "active at", w.alert().ActiveAt, at(0))
		checkTime(t, "fired at", w.alert().FiredAt, at(10))
	}
}

func TestGapOfAPendingAlertThatEnded(t *testing.T) {
	w := newWorld(t, domain.Rule{For: 10 * second})
	w.each(0, 5, values("a"))
	check(t, "transitions", w.eval(60, values()), "inactive")
}

func TestMissedSlotsAreCounted(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.group.Interval = 10 * second
	for _, c := range []struct {
		slot float64
		want int64
	}{{100, 0}, {110, 0}, {130, 1}, {139, 1}, {154, 1}, {200, 4}} {
		w.eval(c.slot, values())
		check(t, "missed", w.evaluations.Missed, c.want)
	}
}

// TestGapThatEndsInAHoldIsCountedOnce has an outage, errors after it, an outage
// during the errors, and one at their end.
func TestGapThatEndsInAHoldIsCountedOnce(t *testing.T) {
	w := newWorld(t, domain.Rule{For: 10 * second})
	w.each(0, 5, values("a"))
	w.each(20, 22, failing())
	w.each(30, 31, failing())
	check(t, "transitions", w.each(40, 50, values("a")), "40:hold_ended 44:firing")
	checkTime(t, "active at", w.alert().ActiveAt, at(34))
	check(t, "missed", w.evaluations.Missed, 14+7+8)
}

func TestAnotherIntervalIsNoGap(t *testing.T) {
	w := newWorld(t, domain.Rule{For: 100 * second})
	for _, c := range []struct{ interval, slot float64 }{{60, 60}, {10, 120}, {10, 130}, {60, 180}} {
		w.group.Interval = at(c.interval).Sub(start)
		w.eval(c.slot, values("a"))
		check(t, "missed", w.evaluations.Missed, 0)
	}
	checkTime(t, "active at", w.alert().ActiveAt, at(60))
	check(t, "state", w.alert().State, domain.Firing)
}

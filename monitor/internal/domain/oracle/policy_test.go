package oracle

import (
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// runShifted compares with a Prometheus whose clock stands still whenever the
// series is not observed: that is what shift means. lost is by how much its clock
// is late.
func runShifted(t testing.TB, s scenario, did *coverage) {
	p, w := newPrometheus(t, s.rule, s.annotated), newTocsin(t, s)
	var lost, lostWhenFired time.Duration
	for i, st := range s.steps {
		lost += gapBefore(s.steps, i)
		before := only(w.alerts)
		w.eval(st.slot, w.result(st))
		did.note(w)
		if !st.observed(0) {
			lost += interval
			checkHeld(t, st, before, only(w.alerts))
			continue
		}
		if err := p.eval(st.slot.Add(-lost), st.vector(), nil); err != nil {
			t.Error(err)
		}
		want := only(p.alerts())
		if want.FiredAt.Equal(st.slot.Add(-lost)) {
			lostWhenFired = lost
		}
		compareActive(t, st, later(want, lost, lostWhenFired), only(w.alerts))
		if t.Failed() {
			return
		}
	}
}

// later translates the times of an active alert from the late clock.
func later(a domain.Alert, lost, lostWhenFired time.Duration) domain.Alert {
	if a.State == domain.Pending {
		a.ActiveAt = a.ActiveAt.Add(lost)
		return a
	}
	a.ActiveAt, a.FiredAt = a.ActiveAt.Add(lostWhenFired), a.FiredAt.Add(lostWhenFired)
	if !a.KeepFiringSince.IsZero() {
		a.KeepFiringSince = a.KeepFiringSince.Add(lost)
	}
	return a
}

// runReset compares with a Prometheus that, before the first slot after time in
// which the series was not observed, has seen the opposite for a moment: a
// pending alert starts anew, and so does keep_firing_for.
func runReset(t testing.TB, s scenario, did *coverage) {
	p, w := newPrometheus(t, s.rule, s.annotated), newTocsin(t, s)
	blind := false
	for i, st := range s.steps {
		blind = blind || gapBefore(s.steps, i) > 0
		before := only(w.alerts)
		w.eval(st.slot, w.result(st))
		did.note(w)
		if !st.observed(0) {
			blind = true
			checkHeld(t, st, before, only(w.alerts))
			continue
		}
		if blind {
			opposite(t, p, st.slot.Add(-1))
		}
		blind = false
		if err := p.eval(st.slot, st.vector(), nil); err != nil {
			t.Error(err)
		}
		compareActive(t, st, only(p.alerts()), only(w.alerts))
		if t.Failed() {
			return
		}
	}
}

// opposite shows Prometheus, for a moment, that the condition of a pending alert
// is false, or that of an alert that is kept firing true.
func opposite(t testing.TB, p *prometheus, moment time.Time) {
	a := only(p.alerts())
	seen := step{values: []float64{float64(a.Value)}, present: []bool{false}}
	switch {
	case a.State == domain.Pending:
	case a.State == domain.Firing && !a.KeepFiringSince.IsZero():
		seen.present[0] = true
	default:
		return
	}
	if err := p.eval(moment, seen.vector(), nil); err != nil {
		t.Error(err)
	}
}

// only returns the alert of a scenario with one series, or its zero value.
func only(alerts map[string]domain.Alert) domain.Alert {
	for _, a := range alerts {
		return a
	}
	return domain.Alert{}
}

// checkHeld checks that an alert is neither moved nor removed by a slot that
// says nothing about it, and that its hold is visible.
func checkHeld(t testing.TB, st step, before, a domain.Alert) {
	switch {
	case before.State == "" || before.State == domain.Inactive:
		if a.State == domain.Pending || a.State == domain.Firing {
			t.Errorf("%s: the alert became %s without being observed", st, a.State)
		}
	case a.State != before.State || a.Hold == domain.HoldNone || a.HeldSince.IsZero():
		t.Errorf("%s: the alert is not held\nbefore %+v\nafter  %+v", st, before, a)
	case !a.FiredAt.Equal(before.FiredAt) || a.Value != before.Value:
		t.Errorf("%s: the held alert has changed\nbefore %+v\nafter  %+v", st, before, a)
	}
}

// compareActive compares alerts while they are active; the retention of inactive
// ones is runExact's.
func compareActive(t testing.TB, st step, want, got domain.Alert) {
	active := want.State == domain.Pending || want.State == domain.Firing
	switch {
	case !active && (got.State == domain.Pending || got.State == domain.Firing):
		t.Errorf("%s: tocsin has an active alert, Prometheus has not: %+v", st, got)
	case active && got.Hold != domain.HoldNone:
		t.Errorf("%s: the alert was observed and is still on hold: %+v", st, got)
	case active:
		if what := difference(want, got); what != "" {
			t.Errorf("%s: %s differs\nPrometheus %+v\ntocsin     %+v", st, what, want, got)
		}
	}
}

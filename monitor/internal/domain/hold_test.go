package domain_test

import (
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

func TestHeldOnceAndVisibly(t *testing.T) {
	for _, c := range []struct {
		name   string
		result domain.Result
		hold   domain.Hold
		reason string
	}{
		{"error", failing(), domain.HoldError, errQuery.Error()},
		{"stale", stale(), domain.HoldStale, "a source of the rule's samples is down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, domain.Rule{})
			w.eval(0, values("a"))
			check(t, "first", w.eval(1, c.result), "held")
			tr := w.out.Transitions[0]
			check(t, "from", tr.From, domain.Firing)
			check(t, "to", tr.To, domain.Firing)
			check(t, "hold", tr.Hold, c.hold)
			check(t, "reason", tr.Reason, c.reason)
			check(t, "more", w.each(2, 5, c.result), "")
			check(t, "changed", len(w.out.Changed), 0)
			check(t, "hold of the alert", w.alert().Hold, c.hold)
			checkTime(t, "held since", w.alert().HeldSince, at(1))
			check(t, "end", w.eval(6, values("a")), "hold_ended")
			check(t, "why", w.out.Transitions[0].Reason, "held for 5s: "+string(c.hold))
			check(t, "hold afterwards", w.alert().Hold, domain.HoldNone)
			checkTime(t, "held since afterwards", w.alert().HeldSince, time.Time{})
			checkTime(t, "fired at", w.alert().FiredAt, at(0))
		})
	}
}

func TestHoldEndsInOneTransitionWhenFalse(t *testing.T) {
	for _, result := range []domain.Result{failing(), stale()} {
		w := newWorld(t, domain.Rule{})
		w.eval(0, values("a"))
		w.eval(1, result)
		check(t, "firing", w.eval(2, values()), "resolved")
		check(t, "hold", w.alert().Hold, domain.HoldNone)
		check(t, "hold of the transition", w.out.Transitions[0].Hold, domain.HoldNone)

		w = newWorld(t, domain.Rule{For: 10 * second})
		w.eval(0, values("a"))
		check(t, "pending is held", w.eval(1, result), "held")
		check(t, "state", w.alert().State, domain.Pending)
		check(t, "pending", w.eval(2, values()), "inactive")
		check(t, "stored", len(w.alerts), 0)
	}
}

func TestHoldTimeAndForByPolicy(t *testing.T) {
	for _, c := range []struct {
		policy domain.GapPolicy
		want   string
	}{
		{domain.GapShift, "20:hold_ended 24:firing"},
		{domain.GapCount, "20:hold_ended 20:firing"},
		{domain.GapReset, "20:hold_ended 30:firing"},
	} {
		for _, result := range []domain.Result{failing(), stale()} {
			w := newWorld(t, domain.Rule{For: 10 * second})
			w.policy = c.policy
			w.each(0, 5, values("a"))
			check(t, string(c.policy), w.each(6, 19, result)+" "+w.each(20, 35, values("a")), "6:held "+c.want)
		}
	}
}

func TestHoldTimeAndKeepFiringForByPolicy(t *testing.T) {
	for _, c := range []struct {
		policy domain.GapPolicy
		want   string
	}{
		{domain.GapShift, "20:hold_ended 27:resolved"},
		{domain.GapCount, "20:resolved"},
		{domain.GapReset, "20:hold_ended 30:resolved"},
	} {
		for _, result := range []domain.Result{failing(), stale()} {
			w := newWorld(t, domain.Rule{KeepFiringFor: 10 * second})
			w.policy = c.policy
			w.eval(0, values("a"))
			w.each(3, 5, values())
			since := w.alert().KeepFiringSince
			check(t, "held", w.each(6, 19, result), "6:held")
			checkTime(t, "since, on hold", w.alert().KeepFiringSince, since)
			check(t, string(c.policy), w.each(20, 35, values()), c.want)
		}
	}
}

func TestStaleDoesNotBeginKeepFiringFor(t *testing.T) {
	w := newWorld(t, domain.Rule{KeepFiringFor: 3 * second})
	w.eval(0, values("a"))
	w.each(1, 9, stale())
	checkTime(t, "since", w.alert().KeepFiringSince, time.Time{})
	check(t, "transitions", w.each(10, 14, values()), "10:hold_ended 13:resolved")
}

func TestStaleBearsOnItsOwnAlertsOnly(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.eval(0, values("a", "bb", "ccc"))
	r := values("ccc")
	r.Stale = func(labels map[string]string) bool { return labels["instance"] != "bb" }
	w.eval(1, r)
	check(t, "firing", instances(w, domain.Firing), "a,ccc")
	check(t, "resolved", instances(w, domain.Inactive), "bb")
	for _, a := range w.alerts {
		want := domain.HoldNone
		if a.Labels["instance"] == "a" {
			want = domain.HoldStale
		}
		check(t, "hold of "+a.Labels["instance"], a.Hold, want)
	}
}

func TestAnotherReasonForAHoldIsVisible(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.eval(0, values("a"))
	w.eval(1, stale())
	check(t, "transitions", w.eval(2, failing()), "held")
	check(t, "hold", w.alert().Hold, domain.HoldError)
	checkTime(t, "held since", w.alert().HeldSince, at(1))
}

func TestHeldAlertDoesNotFallBack(t *testing.T) {
	w := newWorld(t, domain.Rule{For: second})
	w.each(0, 1, values("a"))
	w.group.Rules[0].For = 5 * second
	check(t, "on hold", w.each(2, 3, failing()), "2:held")
	check(t, "afterwards", w.eval(4, values("a")), "hold_ended fell_back")
}

func TestErrorChangesNothingForInactiveAlerts(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.eval(0, values("a"))
	w.eval(1, values())
	check(t, "transitions", w.eval(1000, failing()), "")
	check(t, "stored", len(w.alerts), 1)
	check(t, "changed", len(w.out.Changed), 0)
}

func TestHealthOfARule(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.group.Rules = append(w.group.Rules, domain.Rule{UID: "r2", Name: "Other"})
	w.eval(0, values(), values())
	check(t, "good", w.evaluations.Rules["r1"], domain.RuleHealth{})
	w.eval(1, failing(), values())
	w.eval(2, values("x", "x"), values())
	want := domain.RuleHealth{LastError: domain.ErrDuplicateLabels.Error(), ErrorSince: at(1)}
	check(t, "bad", w.evaluations.Rules["r1"], want)
	check(t, "the other", w.evaluations.Rules["r2"], domain.RuleHealth{})
	check(t, "rules", len(w.evaluations.Rules), 2)
	w.eval(3, values(), values())
	check(t, "good again", w.evaluations.Rules["r1"], domain.RuleHealth{})
}

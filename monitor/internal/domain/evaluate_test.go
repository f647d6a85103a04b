package domain_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

func TestPendingForExactlyFor(t *testing.T) {
	w := newWorld(t, domain.Rule{For: 3 * second})
	check(t, "transitions", w.each(0, 5, values("a")), "0:pending 3:firing")
	a := w.alert()
	check(t, "state", a.State, domain.Firing)
	checkTime(t, "active at", a.ActiveAt, at(0))
	checkTime(t, "fired at", a.FiredAt, at(3))
}

func TestForBetweenSlotsFiresAtTheNextSlot(t *testing.T) {
	w := newWorld(t, domain.Rule{For: 2500 * time.Millisecond})
	check(t, "transitions", w.each(0, 5, values("a")), "0:pending 3:firing")
}

func TestWithoutForFiresAtOnceWithOneTransition(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	check(t, "transitions", w.eval(0, values("a")), "firing")
	tr := w.out.Transitions[0]
	check(t, "from", tr.From, domain.Inactive)
	check(t, "to", tr.To, domain.Firing)
	checkTime(t, "fired at", tr.FiredAt, at(0))
	checkTime(t, "active at", tr.ActiveAt, at(0))
}

func TestPendingThatEndsIsRemovedAndRecorded(t *testing.T) {
	w := newWorld(t, domain.Rule{For: 10 * second})
	w.each(0, 3, values("a"))
	check(t, "transitions", w.eval(4, values()), "inactive")
	check(t, "stored alerts", len(w.alerts), 0)
	check(t, "removed", len(w.out.Removed), 1)
	check(t, "changed", len(w.out.Changed), 0)
	check(t, "from", w.out.Transitions[0].From, domain.Pending)
}

func TestResolvedMeansEvaluatedAndFalse(t *testing.T) {
	for _, c := range []struct {
		name   string
		result domain.Result
		want   string
	}{
		{"true", values("a"), ""},
		{"false", values(), "resolved"},
		{"false, but another is true", values("bb"), "resolved firing"},
		{"error", failing(), "held"},
		{"error with samples of others", domain.Result{Err: errQuery, Samples: values("bb").Samples}, "held"},
		{"duplicate labels", values("bb", "bb"), "held"},
		{"stale source", stale(), "held"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, domain.Rule{})
			w.eval(0, values("a"))
			check(t, "transitions", w.eval(1, c.result), c.want)
		})
	}
	t.Run("no result", func(t *testing.T) {
		w := newWorld(t, domain.Rule{})
		w.eval(0, values("a"))
		check(t, "transitions", w.eval(1), "held")
		check(t, "error", w.evaluations.Rules["r1"].LastError, domain.ErrNoResult.Error())
	})
}

func TestResolvedKeepsTheLastValueAndItsTimes(t *testing.T) {
	w := newWorld(t, domain.Rule{For: 2 * second})
	w.each(0, 4, values("abc"))
	w.eval(5, values())
	a := w.alert()
	check(t, "state", a.State, domain.Inactive)
	check(t, "value", a.Value, 3)
	checkTime(t, "active at", a.ActiveAt, at(0))
	checkTime(t, "fired at", a.FiredAt, at(2))
	checkTime(t, "resolved at", a.ResolvedAt, at(5))
	tr := w.out.Transitions[0]
	checkTime(t, "transition resolved at", tr.ResolvedAt, at(5))
	checkTime(t, "transition fired at", tr.FiredAt, at(2))
	check(t, "transition annotation", tr.Annotations["summary"], "abc is down")
}

func TestKeepFiringForOutlastsTheCondition(t *testing.T) {
	w := newWorld(t, domain.Rule{KeepFiringFor: 3 * second})
	w.each(0, 1, values("a"))
	check(t, "transitions", w.each(2, 6, values()), "5:resolved")
	checkTime(t, "since", w.alert().KeepFiringSince, at(2))
}

func TestKeepFiringForBeginsAnewWhenTrueAgain(t *testing.T) {
	w := newWorld(t, domain.Rule{KeepFiringFor: 3 * second})
	w.eval(0, values("a"))
	w.each(1, 3, values())
	w.eval(4, values("a"))
	checkTime(t, "since, while true", w.alert().KeepFiringSince, time.Time{})
	check(t, "transitions", w.each(5, 9, values()), "8:resolved")
}

func TestResolvedIsRetainedFor15Minutes(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.policy = domain.GapCount
	w.eval(0, values("a"))
	w.eval(1, values())
	w.eval(1+15*60, values())
	check(t, "alerts at 15 minutes", len(w.alerts), 1)
	check(t, "transitions", w.eval(2+15*60, values()), "")
	check(t, "alerts after 15 minutes", len(w.alerts), 0)
	check(t, "removed", len(w.out.Removed), 1)
}

func TestTrueAgainIsANewEpisodeOfTheSameAlert(t *testing.T) {
	w := newWorld(t, domain.Rule{For: second, KeepFiringFor: 2 * second})
	w.each(0, 1, values("a"))
	w.each(2, 4, values())
	first := w.alert()
	check(t, "transitions", w.eval(5, domain.Result{Samples: []domain.Sample{sample("a", 4)}}), "pending")
	a := w.alert()
	check(t, "id", a.ID, first.ID)
	check(t, "episode", a.Episode, first.Episode+1)
	check(t, "value", a.Value, 4)
	checkTime(t, "active at", a.ActiveAt, at(5))
	checkTime(t, "fired at", a.FiredAt, time.Time{})
	checkTime(t, "resolved at", a.ResolvedAt, time.Time{})
	checkTime(t, "keep firing since", a.KeepFiringSince, time.Time{})
	check(t, "from", w.out.Transitions[0].From, domain.Inactive)
}

func TestRemovedAlertsGiveNoNumberAway(t *testing.T) {
	w := newWorld(t, domain.Rule{For: 2 * second})
	seen := map[string]bool{}
	episodes := map[int64]bool{}
	var last int64
	for s := range 40 {
		result := values()
		if s%2 == 0 || s > 30 {
			result = values("a")
		}
		w.eval(float64(s), result)
		for _, tr := range w.out.Transitions {
			if seen[tr.ID] || tr.Number <= last {
				t.Fatalf("slot %d: transition %s (number %d after %d) was there before", s, tr.ID, tr.Number, last)
			}
			if tr.Kind == domain.BecamePending && episodes[tr.Episode] {
				t.Fatalf("slot %d: episode %d was there before", s, tr.Episode)
			}
			seen[tr.ID], last, episodes[tr.Episode] = true, tr.Number, true
		}
	}
}

func TestLongerForFallsBackToPending(t *testing.T) {
	w := newWorld(t, domain.Rule{For: 2 * second})
	w.each(0, 4, values("a"))
	w.group.Rules[0].For = 10 * second
	check(t, "transitions", w.eval(5, values("a")), "fell_back")
	checkTime(t, "fired at, in the transition", w.out.Transitions[0].FiredAt, at(2))
	a := w.alert()
	check(t, "state", a.State, domain.Pending)
	checkTime(t, "active at", a.ActiveAt, at(0))
	checkTime(t, "fired at", a.FiredAt, time.Time{})
	check(t, "transitions", w.each(6, 12, values("a")), "10:firing")
}

// TestKeptFiringFallsBackToPending is Prometheus' way: what is kept firing is not
// true, so the pending alert ends at the next slot.
func TestKeptFiringFallsBackToPending(t *testing.T) {
	w := newWorld(t, domain.Rule{For: second, KeepFiringFor: 60 * second})
	w.each(0, 1, values("a"))
	w.eval(2, values())
	w.group.Rules[0].For = 10 * second
	check(t, "transitions", w.eval(3, values()), "fell_back")
	checkTime(t, "keep firing since", w.alert().KeepFiringSince, time.Time{})
	check(t, "transitions", w.eval(4, values()), "inactive")
}

func TestKeepFiringForIsNotForPendingAlerts(t *testing.T) {
	w := newWorld(t, domain.Rule{For: 9 * second, KeepFiringFor: 60 * second})
	w.eval(0, values("a"))
	check(t, "transitions", w.eval(1, values()), "inactive")
}

func TestUnchangedAlertsCostNothing(t *testing.T) {
	w := newWorld(t, domain.Rule{For: second})
	w.each(0, 1, domain.Result{Samples: []domain.Sample{sample("a", math.NaN()), sample("b", 1)}})
	w.eval(2, domain.Result{Samples: []domain.Sample{sample("b", 1), sample("a", math.NaN())}})
	check(t, "changed", len(w.out.Changed), 0)
	check(t, "transitions", len(w.out.Transitions), 0)
	checkTime(t, "slot", w.evaluations.Slot, at(2))
}

func TestValueAndAnnotationsFollowTheCondition(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.eval(0, domain.Result{Samples: []domain.Sample{sample("a", 1)}})
	check(t, "transitions", w.eval(1, domain.Result{Samples: []domain.Sample{sample("a", 2)}}), "")
	check(t, "changed by the value", len(w.out.Changed), 1)
	check(t, "value", w.alert().Value, 2)
	s := sample("a", 2)
	s.Annotations["summary"] = "new"
	w.eval(2, domain.Result{Samples: []domain.Sample{s}})
	check(t, "changed by the annotation", len(w.out.Changed), 1)
	check(t, "annotation", w.alert().Annotations["summary"], "new")
}

func TestASlotIsEvaluatedOnce(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.eval(5, values("a"))
	before := w.evaluations
	for _, s := range []float64{5, 4} {
		check(t, "transitions", w.eval(s, values()), "")
		if !reflect.DeepEqual(w.out, domain.Output{Evaluations: before}) {
			t.Errorf("slot %v again: got %+v, want only the evaluations as before", s, w.out)
		}
	}
}

func TestIDs(t *testing.T) {
	w := newWorld(t, domain.Rule{For: second})
	w.each(0, 1, values("a"))
	a, tr := w.alert(), w.out.Transitions[0]
	check(t, "fingerprint", a.Fingerprint, domain.Fingerprint(a.Labels))
	check(t, "alert", a.ID, "g|r1|"+a.Fingerprint)
	check(t, "transition", tr.ID, a.ID+"#2")
	check(t, "number", tr.Number, 2)
	check(t, "names", tr.Group+tr.Rule+tr.Name+a.Group+a.Rule+a.Name, "gr1Downgr1Down")
}

// TestEvaluateIsPure runs random inputs twice, the second time with the alerts
// and samples in another order, and looks for traces in the input.
func TestEvaluateIsPure(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	w := newWorld(t, domain.Rule{For: 2 * second, KeepFiringFor: 2 * second})
	w.group.Rules = append(w.group.Rules, domain.Rule{UID: "r2", Name: "Other"})
	w.group.Limit = 5
	for s := range 300 {
		in := w.input(float64(s), randomResult(random), randomResult(random))
		before := toJSON(t, in.Alerts, in.Evaluations, in.Results[0].Samples, in.Results[1].Samples)
		first := toJSON(t, domain.Evaluate(in))
		if after := toJSON(t, in.Alerts, in.Evaluations, in.Results[0].Samples, in.Results[1].Samples); after != before {
			t.Fatalf("seed %d, slot %d: the input was\n%s\nand is now\n%s", seed, s, before, after)
		}
		shuffle(random, in.Alerts)
		shuffle(random, in.Results[0].Samples)
		shuffle(random, in.Results[1].Samples)
		if second := toJSON(t, domain.Evaluate(in)); second != first {
			t.Fatalf("seed %d, slot %d: the output was\n%s\nand in another order is\n%s", seed, s, first, second)
		}
		w.eval(float64(s), in.Results...)
	}
}

func shuffle[T any](random *rand.Rand, s []T) {
	random.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

func randomResult(random *rand.Rand) domain.Result {
	var all []string
	for _, instance := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		if random.IntN(2) == 0 {
			all = append(all, instance)
		}
	}
	r := values(all...)
	switch random.IntN(8) {
	case 0:
		r.Err = errQuery
	case 1:
		r.Stale = func(labels map[string]string) bool { return labels["instance"] < "d" }
	}
	return r
}

func toJSON(t *testing.T, values ...any) string {
	t.Helper()
	b, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

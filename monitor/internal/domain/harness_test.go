package domain_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// start is the slot 0 of the tests.
var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const second = time.Second

var errQuery = errors.New("many-to-many matching not allowed")

// world stores what Evaluate puts out, as the application does.
type world struct {
	t           *testing.T
	group       domain.Group
	policy      domain.GapPolicy
	evaluations domain.Evaluations
	alerts      map[string]domain.Alert
	out         domain.Output // of the last slot
}

// newWorld has one rule, named Down, and an interval of one second.
func newWorld(t *testing.T, rule domain.Rule) *world {
	rule.UID, rule.Name = "r1", "Down"
	return &world{
		t:      t,
		group:  domain.Group{ID: "g", Interval: second, Rules: []domain.Rule{rule}},
		alerts: map[string]domain.Alert{},
	}
}

func at(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

func (w *world) input(seconds float64, results ...domain.Result) domain.Input {
	in := domain.Input{
		Group: w.group, Evaluations: w.evaluations, Results: results,
		Slot: at(seconds), OnGap: w.policy,
	}
	for _, a := range w.alerts {
		in.Alerts = append(in.Alerts, a)
	}
	return in
}

// eval evaluates one slot and returns its transitions, as "kind kind".
func (w *world) eval(seconds float64, results ...domain.Result) string {
	w.t.Helper()
	w.out = domain.Evaluate(w.input(seconds, results...))
	w.evaluations = w.out.Evaluations
	for _, a := range w.out.Changed {
		w.alerts[a.ID] = a
	}
	for _, id := range w.out.Removed {
		delete(w.alerts, id)
	}
	return kinds(w.out.Transitions)
}

// each evaluates the slots from..to, one a second, and returns the transitions
// of all, as "3:firing 5:resolved".
func (w *world) each(from, to int, result domain.Result) string {
	w.t.Helper()
	var all []string
	for s := from; s <= to; s++ {
		w.eval(float64(s), result)
		for _, t := range w.out.Transitions {
			all = append(all, at(0).Add(t.Slot.Sub(start)).Format("5")+":"+string(t.Kind))
		}
	}
	return strings.Join(all, " ")
}

// alert returns the only alert, whose absence fails the test.
func (w *world) alert() domain.Alert {
	w.t.Helper()
	if len(w.alerts) != 1 {
		w.t.Fatalf("%d alerts are stored, want 1", len(w.alerts))
	}
	for _, a := range w.alerts {
		return a
	}
	panic("unreachable")
}

func kinds(transitions []domain.Transition) string {
	var all []string
	for _, t := range transitions {
		all = append(all, string(t.Kind))
	}
	return strings.Join(all, " ")
}

// values is a result of samples that differ in the label instance; the value of
// each is the length of its instance.
func values(instances ...string) domain.Result {
	var r domain.Result
	for _, instance := range instances {
		r.Samples = append(r.Samples, sample(instance, float64(len(instance))))
	}
	return r
}

func sample(instance string, value float64) domain.Sample {
	return domain.Sample{
		Labels:      map[string]string{"alertname": "Down", "instance": instance},
		Annotations: map[string]string{"summary": instance + " is down"},
		Value:       value,
	}
}

func failing() domain.Result { return domain.Result{Err: errQuery} }

// stale is an empty result whose sources are down.
func stale() domain.Result {
	return domain.Result{Stale: func(map[string]string) bool { return true }}
}

func check[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func checkTime(t *testing.T, what string, got, want time.Time) {
	t.Helper()
	if !got.Equal(want) {
		t.Errorf("%s: got %v, want %v (slot 0 is %v)", what, got, want, start)
	}
}

func instances(w *world, state domain.State) string {
	var all []string
	for _, a := range w.alerts {
		if a.State == state {
			all = append(all, a.Labels["instance"])
		}
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

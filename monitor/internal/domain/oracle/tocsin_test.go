package oracle

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// tocsin stores what Evaluate puts out, and checks what must hold of any output.
type tocsin struct {
	t         testing.TB
	annotated bool
	in        domain.Input
	alerts    map[string]domain.Alert // by fingerprint
	out       domain.Output
	seen      map[string]bool // the transitions' ids
}

func newTocsin(t testing.TB, s scenario) *tocsin {
	return &tocsin{
		t: t, annotated: s.annotated, alerts: map[string]domain.Alert{}, seen: map[string]bool{},
		in: domain.Input{
			Group: domain.Group{ID: "g", Interval: interval, Rules: []domain.Rule{s.rule}},
			OnGap: s.policy,
		},
	}
}

// eval evaluates the group at the slot.
func (w *tocsin) eval(slot time.Time, result domain.Result) {
	w.t.Helper()
	w.in.Slot, w.in.Results = slot, []domain.Result{result}
	w.in.Alerts = slices.Collect(maps.Values(w.alerts))
	w.out = domain.Evaluate(w.in)
	before := maps.Clone(w.alerts)
	w.store()
	w.check(before)
}

func (w *tocsin) store() {
	w.in.Evaluations = w.out.Evaluations
	for _, a := range w.out.Changed {
		if old, ok := w.alerts[a.Fingerprint]; ok && reflect.DeepEqual(old, a) {
			w.t.Errorf("%s is in Changed and the same as before", a.ID)
		}
		w.alerts[a.Fingerprint] = a
	}
	for _, id := range w.out.Removed {
		maps.DeleteFunc(w.alerts, func(_ string, a domain.Alert) bool { return a.ID == id })
	}
}

// check follows each alert from its state before through its transitions.
func (w *tocsin) check(before map[string]domain.Alert) {
	w.t.Helper()
	states := map[string]domain.State{}
	for _, a := range before {
		states[a.ID] = a.State
	}
	for _, tr := range w.out.Transitions {
		if w.seen[tr.ID] {
			w.t.Errorf("the id of transition %s was there before", tr.ID)
		}
		w.seen[tr.ID] = true
		if from := states[tr.Alert]; from != tr.From && (from != "" || tr.From != domain.Inactive) {
			w.t.Errorf("transition %s (%s) is from %s, but the alert was %s", tr.ID, tr.Kind, tr.From, from)
		}
		states[tr.Alert] = tr.To
	}
	for _, a := range w.alerts {
		if states[a.ID] != a.State {
			w.t.Errorf("alert %s is %s, but its transitions lead to %s", a.ID, a.State, states[a.ID])
		}
	}
}

// kinds are the kinds of the last slot's transitions, without holds, by
// fingerprint.
func (w *tocsin) kinds() map[string]string {
	kinds := map[string]string{}
	for _, tr := range w.out.Transitions {
		if tr.Kind != domain.BecameHeld && tr.Kind != domain.HoldEnded {
			kinds[domain.Fingerprint(tr.Labels)] += string(tr.Kind)
		}
	}
	return kinds
}

// result expands the labels and annotations, which is not Evaluate's work.
func (w *tocsin) result(st step) domain.Result {
	result := domain.Result{Err: st.err()}
	for _, s := range st.vector() {
		result.Samples = append(result.Samples, w.sample(s))
	}
	if st.stale {
		result.Stale = func(map[string]string) bool { return true }
	}
	return result
}

func (w *tocsin) sample(s promql.Sample) domain.Sample {
	set := s.Metric.Map()
	delete(set, labels.MetricName)
	set[labels.AlertName] = w.in.Group.Rules[0].Name
	annotations := map[string]string{}
	if w.annotated {
		annotations["summary"] = fmt.Sprint("is ", s.F)
	}
	return domain.Sample{Labels: set, Annotations: annotations, Value: s.F}
}

package oracle

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// requirement is a difference that tocsin's promises need.
type requirement struct {
	name   string
	reason string
	show   func(t *testing.T, b *both)
}

// differences are all in which Evaluate and Prometheus differ. Whatever is not
// here is compared field by field in TestEvaluateAgreesWithPrometheus.
func differences() []requirement {
	return []requirement{
		{"error", "an alert that could not be evaluated must be visible as such", showError},
		{"stale source", "resolved means evaluated and false", showStale},
		{"limit", "a limit must not lose the alerts that are firing", showLimit},
		{"gap", "time in which nobody looked must not fire an alert", showGap},
		{"deleted rule", "every alert that began must end", showDeletedRule},
		{"slot again", "an evaluation is committed once", showSlotAgain},
		{"new episode", "one alert has one id, and no transition shares its own", showEpisode},
	}
}

func TestDifferencesFromPrometheus(t *testing.T) {
	for _, d := range differences() {
		t.Run(d.name, func(t *testing.T) {
			d.show(t, newBoth(t, domain.Rule{}))
			if t.Failed() {
				t.Log("required since " + d.reason)
			}
		})
	}
}

// both are driven with the same steps.
type both struct {
	*testing.T
	p *prometheus
	w *tocsin
}

func newBoth(t *testing.T, r domain.Rule) *both {
	r.UID, r.Name = "r1", "Down"
	s := scenario{rule: r}
	return &both{T: t, p: newPrometheus(t, r, false), w: newTocsin(t, s)}
}

// at evaluates slot n, at which the named series are present, in both, and
// returns Prometheus' error.
func (b *both) at(n int, present string, change func(*step)) error {
	b.Helper()
	st := step{slot: slotAt(n), values: make([]float64, 4), present: make([]bool, 4)}
	for i := range 4 {
		st.present[i] = strings.Contains(present, instance(i))
	}
	if change != nil {
		change(&st)
	}
	b.w.eval(st.slot, b.w.result(st))
	return b.p.eval(st.slot, st.vector(), st.err())
}

func slotAt(n int) time.Time {
	return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(n) * interval)
}

// states are written as "a=firing b=inactive", with the hold where there is one.
func states(alerts map[string]domain.Alert) string {
	var all []string
	for _, a := range alerts {
		text := a.Labels["instance"] + "=" + string(a.State)
		if a.Hold != domain.HoldNone {
			text += "(" + string(a.Hold) + ")"
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// expect checks the states of both and the kinds of tocsin's last transitions.
func (b *both) expect(prometheus, tocsin, transitions string) {
	b.Helper()
	if got := states(b.p.alerts()); got != prometheus {
		b.Errorf("Prometheus has %q, want %q", got, prometheus)
	}
	if got := states(b.w.alerts); got != tocsin {
		b.Errorf("tocsin has %q, want %q", got, tocsin)
	}
	var kinds []string
	for _, tr := range b.w.out.Transitions {
		kinds = append(kinds, string(tr.Kind))
	}
	if got := strings.Join(kinds, " "); got != transitions {
		b.Errorf("tocsin's transitions are %q, want %q", got, transitions)
	}
}

func showError(_ *testing.T, b *both) {
	b.at(0, "a", nil)
	if err := b.at(1, "a", func(st *step) { st.failed = true }); !errors.Is(err, errQuery) {
		b.Errorf("Prometheus' error is %v, want %v", err, errQuery)
	}
	b.expect("a=firing", "a=firing(error)", "held")
	b.at(2, "a", nil)
	b.expect("a=firing", "a=firing", "hold_ended")
}

func showStale(_ *testing.T, b *both) {
	b.at(0, "ab", nil)
	b.at(1, "b", func(st *step) { st.stale = true })
	b.expect("a=inactive b=firing", "a=firing(stale) b=firing", "held")
	b.at(2, "b", nil)
	b.expect("a=inactive b=firing", "a=inactive b=firing", "resolved")
}

func showLimit(_ *testing.T, b *both) {
	b.p.limit, b.w.in.Group.Limit = 2, 2
	b.at(0, "ab", nil)
	if err := b.at(1, "abcd", nil); err == nil {
		b.Error("Prometheus has no error beyond the limit")
	}
	b.expect("", "a=firing b=firing", "")
	if h := b.w.out.Evaluations.Rules["r1"]; h.Refused != 2 || h.LastError == "" {
		b.Errorf("the rule's health is %+v, want 2 refused", h)
	}
}

// showGap has a for of 3 slots, of which an outage takes the last 2.
func showGap(t *testing.T, _ *both) {
	b := newBoth(t, domain.Rule{For: 3 * interval})
	b.at(0, "a", nil)
	b.at(3, "a", nil)
	b.expect("a=firing", "a=pending", "")
	if got, want := only(b.w.alerts).ActiveAt, slotAt(2); !got.Equal(want) {
		b.Errorf("active at %s, want %s: moved by the gap and no more", got, want)
	}
	b.at(4, "a", nil)
	b.expect("a=firing", "a=pending", "")
	b.at(5, "a", nil)
	b.expect("a=firing", "a=firing", "firing")
}

func showDeletedRule(_ *testing.T, b *both) {
	b.at(0, "ab", nil)
	b.at(1, "a", nil)
	other := domain.Rule{UID: "r2", Name: "Other"}
	b.p.reload(other, false)
	b.w.in.Group.Rules = []domain.Rule{other}
	b.at(2, "", nil)
	b.expect("", "a=inactive b=inactive", "rule_deleted")
}

func showSlotAgain(_ *testing.T, b *both) {
	b.at(0, "a", nil)
	b.at(0, "", nil)
	b.expect("a=inactive", "a=firing", "")
}

func showEpisode(_ *testing.T, b *both) {
	b.at(0, "a", nil)
	first := only(b.w.alerts)
	b.at(1, "", nil)
	b.at(2, "a", nil)
	b.expect("a=firing", "a=firing", "firing")
	if a := only(b.w.alerts); a.ID != first.ID || a.Episode != 2 || a.Changes != 3 {
		b.Errorf("the alert is %s, episode %d, change %d; want %s, episode 2, change 3", a.ID, a.Episode, a.Changes, first.ID)
	}
}

package oracle

import (
	"maps"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// TestEvaluateAgreesWithPrometheus compares on scenarios whose seeds are fixed:
// seed n is the same scenario on every machine.
func TestEvaluateAgreesWithPrometheus(t *testing.T) {
	seeds := 2000
	if testing.Short() {
		seeds = 400
	}
	var did coverage
	for seed := range seeds {
		if s := decode(randomBytes(uint64(seed))); !run(t, s, &did) {
			t.Fatalf("seed %d: %s", seed, s)
		}
	}
	t.Logf("seeds 0 to %d: %+v", seeds-1, did)
	did.check(t, seeds/40)
}

func FuzzEvaluateAgainstPrometheus(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(randomBytes(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if s := decode(data); !run(t, s, &coverage{}) {
			t.Fatal(s)
		}
	})
}

func randomBytes(seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, 3+2*random.IntN(60))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

// run compares as the scenario's policy asks for, and reports whether all agreed.
func run(t testing.TB, s scenario, did *coverage) bool {
	switch s.policy {
	case domain.GapShift:
		runShifted(t, s, did)
	case domain.GapReset:
		runReset(t, s, did)
	default:
		runExact(t, s, did)
	}
	return !t.Failed()
}

// coverage counts what the scenarios have reached, since a comparison of nothing
// would agree, too.
type coverage struct {
	slots       int
	kinds       map[domain.TransitionKind]int
	removed     int // after the retention
	secondLives int // active again before it
	keptFiring  int
}

func (c *coverage) note(w *tocsin) {
	if c.kinds == nil {
		c.kinds = map[domain.TransitionKind]int{}
	}
	c.slots++
	c.removed += len(w.out.Removed)
	for _, tr := range w.out.Transitions {
		c.kinds[tr.Kind]++
		if tr.Kind == domain.BecameInactive {
			c.removed--
		}
	}
	for _, a := range w.out.Changed {
		if a.Episode > 1 && a.State != domain.Inactive && a.ActiveAt.Equal(w.in.Slot) {
			c.secondLives++
		}
		if a.State == domain.Firing && !a.KeepFiringSince.IsZero() {
			c.keptFiring++
		}
	}
}

func (c *coverage) check(t *testing.T, least int) {
	for _, kind := range []domain.TransitionKind{
		domain.BecamePending, domain.BecameFiring, domain.BecameResolved, domain.BecameInactive,
		domain.FellBack, domain.BecameHeld, domain.HoldEnded,
	} {
		if c.kinds[kind] < least {
			t.Errorf("only %d transitions are %s: the scenarios are too poor", c.kinds[kind], kind)
		}
	}
	if min(c.removed, c.secondLives, c.keptFiring) < least {
		t.Errorf("the scenarios are too poor: %+v", c)
	}
}

// runExact needs no correction: when gaps count, Prometheus is right about every
// field, after errors as well.
func runExact(t testing.TB, s scenario, did *coverage) {
	p, w := newPrometheus(t, s.rule, s.annotated), newTocsin(t, s)
	for _, st := range s.steps {
		if st.newFor >= 0 {
			w.in.Group.Rules[0].For = st.newFor
			p.reload(w.in.Group.Rules[0], s.annotated)
		}
		before := p.alerts()
		err := p.eval(st.slot, st.vector(), st.err())
		if (err != nil) != (st.failed || st.duplicate) {
			t.Errorf("%s: Prometheus' error is %v", st, err)
		}
		w.eval(st.slot, w.result(st))
		compare(t, st, p.alerts(), w.alerts)
		if got, want := w.kinds(), kindsOf(before, p.alerts()); !maps.Equal(got, want) {
			t.Errorf("%s: the transitions are %v, those of Prometheus %v", st, got, want)
		}
		compareHolds(t, st, w)
		did.note(w)
		if t.Failed() {
			return
		}
	}
}

// compareHolds checks the only thing in which runExact differs from Prometheus:
// all active alerts are on hold after an error, and none otherwise.
func compareHolds(t testing.TB, st step, w *tocsin) {
	for _, a := range w.alerts {
		want := domain.HoldNone
		if (st.failed || st.duplicate) && a.State != domain.Inactive {
			want = domain.HoldError
		}
		if a.Hold != want {
			t.Errorf("%s: the hold of %v is %q, want %q", st, a.Labels, a.Hold, want)
		}
	}
}

// compare checks that both have the same alerts, equal in each field.
func compare(t testing.TB, st step, want, got map[string]domain.Alert) {
	for print, p := range want {
		a, ok := got[print]
		if !ok {
			t.Errorf("%s: Prometheus has %v, which is %s; tocsin has not", st, p.Labels, p.State)
			continue
		}
		if what := difference(p, a); what != "" {
			t.Errorf("%s: %s differs\nPrometheus %+v\ntocsin     %+v", st, what, p, a)
		}
	}
	for print, a := range got {
		if _, ok := want[print]; !ok {
			t.Errorf("%s: tocsin has %v, which is %s; Prometheus has not", st, a.Labels, a.State)
		}
	}
}

// difference names a field in which the alerts differ.
func difference(p, a domain.Alert) string {
	sameValue := p.Value == a.Value || math.IsNaN(float64(p.Value)) && math.IsNaN(float64(a.Value))
	for what, same := range map[string]bool{
		"the state":         p.State == a.State,
		"the value":         sameValue,
		"a label":           maps.Equal(p.Labels, a.Labels),
		"an annotation":     maps.Equal(p.Annotations, a.Annotations),
		"active at":         p.ActiveAt.Equal(a.ActiveAt),
		"fired at":          p.FiredAt.Equal(a.FiredAt),
		"keep firing since": p.KeepFiringSince.Equal(a.KeepFiringSince),
		"resolved at":       p.ResolvedAt.Equal(a.ResolvedAt),
	} {
		if !same {
			return what
		}
	}
	return ""
}

// kindsOf are the transitions that Prometheus' states before and after a slot
// amount to, by fingerprint.
func kindsOf(before, after map[string]domain.Alert) map[string]string {
	kinds := map[string]string{}
	for print := range before {
		if _, ok := after[print]; !ok && before[print].State == domain.Pending {
			kinds[print] = string(domain.BecameInactive)
		}
	}
	for print, a := range after {
		if kind := kindOf(before[print].State, a.State); kind != "" {
			kinds[print] = string(kind)
		}
	}
	return kinds
}

func kindOf(from, to domain.State) domain.TransitionKind {
	switch {
	case from == to:
		return ""
	case from == domain.Firing && to == domain.Pending:
		return domain.FellBack
	case to == domain.Pending:
		return domain.BecamePending
	case to == domain.Firing:
		return domain.BecameFiring
	default:
		return domain.BecameResolved
	}
}

// gapBefore is the time that is missing before the step.
func gapBefore(steps []step, i int) time.Duration {
	if i == 0 {
		return 0
	}
	return steps[i].slot.Sub(steps[i-1].slot) - interval
}

package oracle

import (
	"fmt"
	"math"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// interval is the group's; durations that are no multiple of it are meant.
const interval = 10 * time.Second

// durations are those from which for and keep_firing_for are taken.
func durations() []time.Duration {
	const s = time.Second
	return []time.Duration{0, 1 * s, 10 * s, 15 * s, 20 * s, 30 * s, 35 * s, 60 * s}
}

// scenario is a rule and what it meets.
type scenario struct {
	rule   domain.Rule
	policy domain.GapPolicy
	// annotated rules put the value into an annotation, by a template.
	annotated bool
	steps     []step
}

// step is one slot.
type step struct {
	slot      time.Time
	values    []float64 // by series, where present
	present   []bool
	failed    bool          // the query fails
	duplicate bool          // the first series is there twice
	stale     bool          // the absent series' sources are down
	newFor    time.Duration // the rule is reloaded with it, if not negative
}

// observed reports whether the step says something about series i.
func (st step) observed(i int) bool {
	return !st.failed && !st.duplicate && (st.present[i] || !st.stale)
}

func (st step) String() string {
	text := st.slot.Format(time.TimeOnly)
	for i, v := range st.values {
		if st.present[i] {
			text += fmt.Sprintf(" %s=%v", instance(i), v)
		}
	}
	return fmt.Sprintf("%s failed=%t duplicate=%t stale=%t newFor=%s", text, st.failed, st.duplicate, st.stale, st.newFor)
}

func (s scenario) String() string {
	text := fmt.Sprintf("for %s, keep_firing_for %s, on_gap %s\n", s.rule.For, s.rule.KeepFiringFor, s.policy)
	for _, step := range s.steps {
		text += step.String() + "\n"
	}
	return text
}

func instance(i int) string { return string(rune('a' + i)) }

// decoder takes the bytes of a scenario; the missing ones are 0.
type decoder []byte

func (d *decoder) next() int {
	if len(*d) == 0 {
		return 0
	}
	b := (*d)[0]
	*d = (*d)[1:]
	return int(b)
}

// decode makes a scenario of any bytes. The third byte chooses the policy: under
// count, Prometheus must agree about four series without any correction; under
// the others there is one series, whose sources may be down.
func decode(data []byte) scenario {
	d := decoder(data)
	all := durations()
	s := scenario{rule: domain.Rule{
		UID: "r1", Name: "Down",
		For:           all[d.next()%len(all)],
		KeepFiringFor: all[d.next()%len(all)],
	}}
	mode := d.next()
	s.annotated = mode&12 == 12 // a quarter: templates are slow
	s.policy = []domain.GapPolicy{domain.GapCount, domain.GapShift, domain.GapReset, domain.GapCount}[mode%4]
	slot := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for len(d) > 0 && len(s.steps) < 100 {
		slot = slot.Add(interval)
		s.steps = append(s.steps, s.step(&d, &slot))
	}
	return s
}

func (s scenario) step(d *decoder, slot *time.Time) step {
	op := d.next()
	st := step{newFor: -1}
	if kind := op % 16; kind == 8 || kind == 9 || kind >= 14 {
		*slot = slot.Add(time.Duration(max(0, op/16-11)) * interval) // an outage that ends in a hold
	}
	switch op % 16 {
	case 8:
		st.failed = true
	case 9:
		st.duplicate = true
	case 10, 11:
		*slot = slot.Add(time.Duration(1+op/16) * interval) // an outage
	case 12:
		st.jump(s, slot, op/16)
	case 13:
		st.reload(s, op/16)
	case 14, 15:
		st.stale = s.policy != domain.GapCount
	}
	st.slot = *slot
	st.series(s, d.next())
	return st
}

// jump passes about as much time as inactive alerts are kept.
func (st *step) jump(s scenario, slot *time.Time, n int) {
	if s.policy == domain.GapCount {
		*slot = slot.Add(domain.ResolvedRetention + time.Duration(n-8)*interval)
	}
}

func (st *step) reload(s scenario, n int) {
	if s.policy == domain.GapCount {
		st.newFor = durations()[n%len(durations())]
	}
}

// series takes two bits for each series: absent, present with one of two values,
// or as at the slot before.
func (st *step) series(s scenario, bits int) {
	n := 1
	if s.policy == domain.GapCount {
		n = 4
	}
	st.values, st.present = make([]float64, n), make([]bool, n)
	for i := range n {
		switch choice := bits >> (2 * i) & 3; choice {
		case 0:
		case 3:
			st.repeat(s, i)
		default:
			st.values[i], st.present[i] = value(i, choice), true
		}
	}
	if st.duplicate {
		st.present[0] = true
	}
}

func (st *step) repeat(s scenario, i int) {
	if len(s.steps) > 0 {
		last := s.steps[len(s.steps)-1]
		st.values[i], st.present[i] = last.values[i], last.present[i]
	}
}

func value(series, choice int) float64 {
	if series == 3 && choice == 2 {
		return math.NaN()
	}
	return float64(choice) * 1.5
}

package domain

import "time"

// Evaluate takes the alerts of a group through one slot. It is a pure function:
// the same input gives the same output, in the same order, and the input is not
// changed. The output shares label and annotation maps with the input; neither
// may be written to.
//
// The UIDs of the group's rules are different, and so are the IDs of the alerts.
//
// The rules are those of Prometheus' AlertingRule.Eval: new alerts are pending
// until the condition has been true for the rule's For, a firing alert stays for
// KeepFiringFor after the condition became false, a pending one ends without
// notice and is removed, a resolved one is kept for ResolvedRetention, and one
// that is true again begins anew. The differences:
//
//   - Slots. A slot at or before the last one changes nothing. Slots that were
//     missed are counted, and OnGap says how the time counts for For and
//     KeepFiringFor: by default it does not (Prometheus does that at a restart
//     only, and for For only). ActiveAt and FiredAt of a firing alert stay.
//   - Errors. A rule that fails (Err, two equal label sets, no result at all)
//     leaves its alerts as they are, as in Prometheus, but holds the active ones
//     visibly: BecameHeld once, HoldEnded or the end of the alert when the rule
//     works again. Time on hold counts as a gap does, by OnGap.
//   - Stale sources. An alert that is absent because its source is down is held
//     as well, and neither resolved nor removed; keep_firing_for does not begin.
//     Prometheus resolves it.
//   - Limit. Active alerts stay and new ones beyond the limit are refused, lowest
//     fingerprint first in, and counted in the rule's health. Prometheus drops
//     all alerts of the rule.
//   - Deleted rules. Their active alerts end with RuleDeleted. Prometheus forgets
//     them without a word.
//   - Identity. An alert that is true again within ResolvedRetention is the same
//     Alert in its next Episode. Numbers of removed alerts are not given again.
func Evaluate(in Input) Output {
	if !in.Slot.After(in.Evaluations.Slot) {
		return Output{Evaluations: in.Evaluations}
	}
	e := evaluation{in: in, gap: in.gap()}
	e.out.Evaluations = in.next()
	places := in.places()
	for i, rule := range in.Group.Rules {
		n := countOf(places, i)
		e.rule(rule, in.result(i), places[:n])
		places = places[n:]
	}
	e.orphans(places)
	return e.out
}

// evaluation is one call of Evaluate.
type evaluation struct {
	in  Input
	gap time.Duration // time without evaluations before this slot
	out Output
}

// rule takes the alerts of one rule through the slot.
func (e *evaluation) rule(rule Rule, result Result, places []place) {
	found, err := matches(result)
	if err != nil {
		e.failed(rule, places, err)
		return
	}
	active := 0
	for _, p := range places {
		if e.known(rule, result, found, &e.in.Alerts[p.alert]) {
			active++
		}
	}
	refused := e.newcomers(rule, found, active)
	e.health(rule, e.in.Group.refusal(refused), refused)
}

// known takes an alert of the input through a slot at which its rule was
// evaluated, and reports whether it is active afterwards.
func (e *evaluation) known(rule Rule, result Result, found []match, before *Alert) bool {
	m := find(found, before.fingerprint())
	if !before.active() {
		e.rest(before, m)
		return false
	}
	a := *before
	e.skip(&a, e.gapOf(before))
	switch {
	case m != nil:
		m.known = true
		e.stillTrue(&a, rule, m.sample)
	case result.Stale != nil && result.Stale(a.Labels):
		e.hold(&a, HoldStale, "a source of the rule's samples is down")
	default:
		e.nowFalse(&a, rule)
	}
	e.keep(before, &a)
	return a.active()
}

// failed keeps the alerts of a rule that could not be evaluated. Inactive ones
// stay as well, as in Prometheus.
func (e *evaluation) failed(rule Rule, places []place, err error) {
	for _, p := range places {
		before := &e.in.Alerts[p.alert]
		if !before.active() {
			continue
		}
		a := *before
		e.skip(&a, e.gapOf(before))
		e.hold(&a, HoldError, err.Error())
		e.keep(before, &a)
	}
	e.health(rule, err.Error(), 0)
}

// keep puts a into the output if it differs from before.
func (e *evaluation) keep(before, a *Alert) {
	switch {
	case before.State == Pending && a.State == Inactive:
		e.remove(a) // nobody was told of it, so there is nothing to repeat
	case !before.equal(a):
		e.out.Changed = append(e.out.Changed, *a)
	}
}

func (e *evaluation) remove(a *Alert) {
	e.out.Removed = append(e.out.Removed, a.ID)
	e.out.Evaluations = e.out.Evaluations.Forget(*a)
}

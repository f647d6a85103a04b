package domain

import (
	"maps"
	"time"
)

// ResolvedRetention is how long an inactive alert is kept, and repeated to
// destinations that need it.
const ResolvedRetention = 15 * time.Minute

// active reports whether the alert is pending or firing.
func (a *Alert) active() bool { return a.State == Pending || a.State == Firing }

// equal reports whether storing b instead of a would change nothing. What only a
// transition can change needs no look: Changes tells.
func (a *Alert) equal(b *Alert) bool {
	return a.Changes == b.Changes && a.Value.equal(b.Value) &&
		a.ActiveAt.Equal(b.ActiveAt) && a.KeepFiringSince.Equal(b.KeepFiringSince) &&
		maps.Equal(a.Annotations, b.Annotations)
}

// equal reports whether both are the same number, or both not a number.
func (d Decimal) equal(other Decimal) bool {
	return d == other || d != d && other != other
}

// stillTrue is the step of an active alert that the result contains.
func (e *evaluation) stillTrue(a *Alert, rule Rule, s *Sample) {
	held := e.release(a)
	a.Value, a.Annotations = Decimal(s.Value), s.Annotations
	a.KeepFiringSince = time.Time{}
	e.released(a, held)
	e.settle(a, rule)
}

// nowFalse is the step of an active alert that the result does not contain,
// although its sources are up.
func (e *evaluation) nowFalse(a *Alert, rule Rule) {
	held := e.release(a)
	if e.keepsFiring(a, rule) {
		e.released(a, held)
		e.settle(a, rule)
		return
	}
	kind := BecameResolved
	if a.State == Pending {
		kind = BecameInactive
	}
	e.record(end(a, kind, e.in.Slot, ""))
}

// keepsFiring begins or continues the keep_firing_for of an alert whose condition
// is false, and reports whether it still lasts.
func (e *evaluation) keepsFiring(a *Alert, rule Rule) bool {
	if a.State != Firing || rule.KeepFiringFor <= 0 {
		return false
	}
	if a.KeepFiringSince.IsZero() {
		a.KeepFiringSince = e.in.Slot
	}
	return e.in.Slot.Sub(a.KeepFiringSince) < rule.KeepFiringFor
}

// settle moves an active alert between pending and firing. ActiveAt of a firing
// alert never moves, so a firing alert is younger than the rule's For only when
// For was lengthened.
func (e *evaluation) settle(a *Alert, rule Rule) {
	ripe := e.in.Slot.Sub(a.ActiveAt) >= rule.For
	switch {
	case a.State == Pending && ripe:
		a.State, a.FiredAt = Firing, e.in.Slot
		e.change(a, BecameFiring, Pending, "")
	case a.State == Firing && !ripe:
		e.fallBack(a, rule)
	}
}

// fallBack makes a firing alert pending. The transition keeps FiredAt: those who
// were told that the alert fired must be told that it no longer does.
func (e *evaluation) fallBack(a *Alert, rule Rule) {
	fired := a.FiredAt
	a.State, a.FiredAt, a.KeepFiringSince = Pending, time.Time{}, time.Time{}
	t := transition(a, FellBack, Firing, e.in.Slot, "for is now "+rule.For.String())
	t.FiredAt = fired
	e.record(t)
}

// rest is the step of an inactive alert: it waits for its retention to end, or
// for the newcomers when its condition is true again.
func (e *evaluation) rest(before *Alert, m *match) {
	switch {
	case m != nil:
		m.before = before
	case e.in.Slot.Sub(before.ResolvedAt) > ResolvedRetention:
		e.remove(before)
	}
}

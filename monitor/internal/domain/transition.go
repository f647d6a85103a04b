package domain

import (
	"strconv"
	"time"
)

// end makes an active alert inactive.
func end(a *Alert, kind TransitionKind, slot time.Time, reason string) Transition {
	from := a.State
	a.State, a.ResolvedAt = Inactive, slot
	a.Hold, a.HeldSince = HoldNone, time.Time{}
	return transition(a, kind, from, slot, reason)
}

// transition numbers the change that a has just made.
func transition(a *Alert, kind TransitionKind, from State, slot time.Time, reason string) Transition {
	a.Changes++
	return Transition{
		ID:          a.ID + "#" + strconv.FormatInt(a.Changes, 10),
		Alert:       a.ID,
		Group:       a.Group,
		Rule:        a.Rule,
		Name:        a.Name,
		Episode:     a.Episode,
		Number:      a.Changes,
		Kind:        kind,
		From:        from,
		To:          a.State,
		Hold:        a.Hold,
		Slot:        slot,
		Value:       a.Value,
		Labels:      a.Labels,
		Annotations: a.Annotations,
		ActiveAt:    a.ActiveAt,
		FiredAt:     a.FiredAt,
		ResolvedAt:  a.ResolvedAt,
		Reason:      reason,
	}
}

func (e *evaluation) change(a *Alert, kind TransitionKind, from State, reason string) {
	e.record(transition(a, kind, from, e.in.Slot, reason))
}

func (e *evaluation) record(t Transition) {
	e.out.Transitions = append(e.out.Transitions, t)
}

package domain

import (
	"fmt"
	"time"
)

// hold keeps an active alert as it is. Only the beginning and another reason are
// worth a transition.
func (e *evaluation) hold(a *Alert, why Hold, reason string) {
	if a.Hold == why {
		return
	}
	if a.Hold == HoldNone {
		a.HeldSince = e.in.Slot
	}
	a.Hold = why
	e.change(a, BecameHeld, a.State, reason)
}

// release ends the alert's hold, if there is one, and returns its description.
// The slots from HeldSince up to this one were not evaluated for this alert, so
// they are a gap.
func (e *evaluation) release(a *Alert) string {
	if a.Hold == HoldNone {
		return ""
	}
	length := e.in.Slot.Sub(a.HeldSince)
	e.skip(a, length)
	held := fmt.Sprintf("held for %s: %s", length, a.Hold)
	a.Hold, a.HeldSince = HoldNone, time.Time{}
	return held
}

// released records the end of a hold that the alert has survived.
func (e *evaluation) released(a *Alert, held string) {
	if held != "" {
		e.change(a, HoldEnded, a.State, held)
	}
}

package domain

import "time"

// gap is the time before the slot in which the group was due and not evaluated.
func (in Input) gap() time.Duration {
	if in.Evaluations.Slot.IsZero() || in.Group.Interval <= 0 {
		return 0
	}
	due := max(in.Group.Interval, in.Evaluations.Interval)
	return max(0, in.Slot.Sub(in.Evaluations.Slot)-due)
}

// gapOf is the gap as it concerns one alert: the time of a hold is settled as a
// whole when the hold ends.
func (e *evaluation) gapOf(a *Alert) time.Duration {
	if a.Hold != HoldNone {
		return 0
	}
	return e.gap
}

// skip applies the policy for gaps to time without evaluations that ends at this
// slot.
func (e *evaluation) skip(a *Alert, d time.Duration) {
	if d <= 0 || e.in.OnGap == GapCount {
		return
	}
	move := func(t time.Time) time.Time { return t.Add(d) }
	if e.in.OnGap == GapReset {
		move = func(time.Time) time.Time { return e.in.Slot }
	}
	if a.State == Pending {
		a.ActiveAt = move(a.ActiveAt)
	}
	if !a.KeepFiringSince.IsZero() {
		a.KeepFiringSince = move(a.KeepFiringSince)
	}
}

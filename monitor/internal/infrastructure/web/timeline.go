package web

import (
	"cmp"
	"slices"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// entry is one line of a timeline. One of Transition, Attempt, Delivery, Gap and
// Folded is set.
type entry struct {
	At         time.Time
	Transition *domain.Transition
	Attempt    *domain.Attempt
	Delivery   *domain.Delivery // one that no attempt tells of
	Gap        *domain.Gap
	Folded     *folded
	// About is the transition that an attempt or a delivery tells of.
	About *domain.Transition
	// Below and Above are the classes of the axis before and after the entry.
	Below, Above string
	// Elapsed is the time since the entry below.
	Elapsed time.Duration
}

// folded are failed attempts in a row that are shown on demand.
type folded struct {
	Count    int
	From, To time.Time
	Entries  []entry
}

// rank orders entries of one time: a gap ends before its slot's transitions, and
// those are before the attempts that tell of them.
func (e entry) rank() int {
	switch {
	case e.Gap != nil:
		return 0
	case e.Transition != nil:
		return 1
	case e.Delivery != nil:
		return 2
	}
	return 3
}

func (e entry) number() int64 {
	switch {
	case e.Transition != nil:
		return e.Transition.Number
	case e.Attempt != nil:
		return int64(e.Attempt.Number)
	}
	return 0
}

// buildTimeline turns a history into lines, newest first.
func buildTimeline(t application.Timeline) []entry {
	entries := entriesOf(t)
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(a.At.Compare(b.At), a.rank()-b.rank(), cmp.Compare(a.number(), b.number()))
	})
	draw(entries)
	slices.Reverse(entries)
	return fold(entries)
}

func entriesOf(t application.Timeline) []entry {
	var entries []entry
	transitions := map[string]*domain.Transition{}
	for i := range t.Transitions {
		tr := &t.Transitions[i]
		transitions[tr.ID] = tr
		entries = append(entries, entry{At: tr.Slot, Transition: tr})
	}
	attempted := map[string]bool{}
	for i := range t.Attempts {
		a := &t.Attempts[i]
		attempted[a.Notification] = true
		entries = append(entries, entry{At: a.StartedAt, Attempt: a, About: transitions[a.Transition]})
	}
	for i := range t.Deliveries {
		d := &t.Deliveries[i]
		if !attempted[d.ID] || d.State == domain.Abandoned {
			entries = append(entries, entry{At: cmp.Or(d.LastAt, d.CreatedAt), Delivery: d, About: transitions[d.Transition]})
		}
	}
	for i := range t.Gaps {
		g := &t.Gaps[i]
		entries = append(entries, entry{At: g.To, Gap: g})
	}
	return entries
}

// draw gives each entry, oldest first, its piece of the axis.
func draw(entries []entry) {
	state := axisInactive
	if i := slices.IndexFunc(entries, func(e entry) bool { return e.Transition != nil }); i >= 0 {
		state = axisClass(entries[i].Transition.From, domain.HoldNone)
	}
	for i := range entries {
		e := &entries[i]
		e.Below = state
		switch {
		case e.Transition != nil:
			state = axisClass(e.Transition.To, e.Transition.Hold)
		case e.Gap != nil:
			e.Below = axisGap
		}
		e.Above = state
		if i > 0 {
			e.Elapsed = startOf(*e).Sub(entries[i-1].At)
		}
	}
}

func startOf(e entry) time.Time {
	if e.Gap != nil {
		return e.Gap.From
	}
	return e.At
}

// The classes of the axis.
const (
	axisInactive = "inactive"
	axisHeld     = "held"
	axisGap      = "gap"
)

func axisClass(s domain.State, h domain.Hold) string {
	if h != domain.HoldNone && s != domain.Inactive {
		return axisHeld
	}
	return string(s)
}

// foldFrom is the shortest row of failed attempts that is folded; of those, the
// newest two and the oldest stay.
const foldFrom = 7

func fold(entries []entry) []entry {
	var out []entry
	for len(entries) > 0 {
		n := slices.IndexFunc(entries, func(e entry) bool { return !failed(e) })
		switch {
		case n < 0:
			n = len(entries)
		case n == 0:
			n = 1
		}
		run := entries[:n]
		entries = entries[n:]
		if n < foldFrom {
			out = append(out, run...)
			continue
		}
		inner := run[2 : n-1]
		newest, oldest := inner[0], inner[len(inner)-1]
		out = append(out, run[:2]...)
		out = append(out, entry{
			At: newest.At, Above: newest.Above, Below: oldest.Below,
			Folded: &folded{Count: len(inner), From: oldest.At, To: newest.At, Entries: inner},
		}, run[n-1])
	}
	return out
}

func failed(e entry) bool {
	return e.Attempt != nil && e.Attempt.Outcome != "" && e.Attempt.Outcome != domain.OutcomeDelivered &&
		e.Attempt.Outcome != domain.OutcomeRefused
}

package tocsintest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Check compares what was committed, what the ledger says and what each receiver,
// by the name of its destination, got, after everything has been delivered. It
// returns what does not agree.
func Check(h History, received map[string][]Request) []string {
	c := &check{
		history:     h,
		transitions: map[string]Transition{},
		deliveries:  map[string]Delivery{},
		attempts:    map[string]Attempt{},
	}
	c.index(slices.Sorted(maps.Keys(received)))
	c.states()
	for _, destination := range slices.Sorted(maps.Keys(received)) {
		c.received(destination, received[destination])
	}
	c.ledger(received)
	return c.problems
}

type check struct {
	history     History
	transitions map[string]Transition
	deliveries  map[string]Delivery
	attempts    map[string]Attempt // by notification and number
	problems    []string
}

// maxProblems keeps the report readable.
const maxProblems = 40

func (c *check) add(format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Sprintf(format, args...))
	}
}

func attemptKey(notification string, number int) string {
	return fmt.Sprintf("%s/%d", notification, number)
}

// index checks that there is exactly one delivery for each notifying transition
// and destination, and that all are delivered.
func (c *check) index(destinations []string) {
	for _, t := range c.history.Transitions {
		if _, twice := c.transitions[t.ID]; twice {
			c.add("transition %s is there twice", t.ID)
		}
		c.transitions[t.ID] = t
	}
	pairs := map[string]string{}
	for _, d := range c.history.Deliveries {
		if _, twice := c.deliveries[d.ID]; twice {
			c.add("notification %s is there twice", d.ID)
		}
		c.deliveries[d.ID] = d
		pair := d.Transition + " to " + d.Destination
		if other, twice := pairs[pair]; twice {
			c.add("%s has two notifications, %s and %s", pair, other, d.ID)
		}
		pairs[pair] = d.ID
		if t, ok := c.transitions[d.Transition]; !ok || !t.Notifies() {
			c.add("notification %s is of %s, which is no transition to tell of", d.ID, d.Transition)
		}
		if d.State != "delivered" {
			c.add("notification %s of %s is %s: %s", d.ID, d.Transition, d.State, d.LastAnswer)
		}
	}
	for _, t := range c.history.Transitions {
		for _, destination := range destinations {
			if _, ok := pairs[t.ID+" to "+destination]; t.Notifies() && !ok {
				c.add("transition %s has no notification for %s", t.ID, destination)
			}
		}
	}
}

// states checks that the transitions of each alert make sense one after the
// other, and lead to the state that is stored.
func (c *check) states() {
	last := map[string]Transition{}
	for _, t := range c.history.Transitions {
		before, known := last[t.Alert]
		last[t.Alert] = t
		switch {
		case known && t.Number <= before.Number:
			c.add("transition %s has number %d after %d", t.ID, t.Number, before.Number)
		case known && t.From != before.To, !known && t.From != "inactive":
			c.add("transition %s begins as %s, and the one before ended as %q", t.ID, t.From, before.To)
		case known && t.Slot.Equal(before.Slot) && t.Episode != before.Episode:
			c.add("transition %s begins an episode in the slot in which another ended", t.ID)
		}
		if want, ok := targets()[t.Kind]; !ok || want != "" && want != t.To {
			c.add("transition %s is of kind %s and ends as %s", t.ID, t.Kind, t.To)
		}
	}
	for _, a := range c.history.Alerts {
		if t, ok := last[a.ID]; !ok || t.To != a.State || t.Number != a.Changes {
			c.add("alert %s is %s after %d changes, and its last transition is %s to %s", a.ID, a.State, a.Changes, t.ID, t.To)
		}
	}
}

// targets are the states to which the kinds of transitions lead; empty where
// the state stays.
func targets() map[string]string {
	return map[string]string{
		"pending": "pending", "firing": "firing", "resolved": "inactive", "inactive": "inactive",
		"fell_back": "pending", "held": "", "hold_ended": "", "rule_deleted": "inactive",
	}
}

// received checks what a receiver got: nothing missing, nothing invented, and
// nothing about an alert before the earlier was answered well.
func (c *check) received(destination string, requests []Request) {
	good := map[string]int{}         // notification → the order in which it was answered well
	firstSeen := map[string]int{}    // notification → order of its first request
	byAlert := map[string][]string{} // alert → notifications by first request
	for _, r := range requests {
		d, ok := c.deliveries[r.ID]
		if !ok || d.Destination != destination {
			c.add("%s got notification %q, which was never committed for it", destination, r.ID)
			continue
		}
		if _, seen := firstSeen[r.ID]; !seen {
			firstSeen[r.ID] = r.Order
			byAlert[d.Alert] = append(byAlert[d.Alert], r.ID)
		}
		if at, done := good[r.ID]; r.Answered >= 0 && r.Answer.Good() && (!done || r.Answered < at) {
			good[r.ID] = r.Answered
		}
	}
	for _, d := range c.history.Deliveries {
		if _, ok := good[d.ID]; !ok && d.Destination == destination {
			c.add("%s never answered notification %s of %s well", destination, d.ID, d.Transition)
		}
	}
	for alert, ids := range byAlert {
		want := slices.SortedFunc(slices.Values(ids), func(a, b string) int {
			return cmp.Compare(c.deliveries[a].Number, c.deliveries[b].Number)
		})
		if !slices.Equal(ids, want) {
			c.add("%s got the notifications of alert %s in the order %s", destination, alert, c.numbers(ids))
		}
		for i := 1; i < len(ids); i++ {
			if at, ok := good[ids[i-1]]; !ok || at > firstSeen[ids[i]] {
				c.add("%s got notification %d of alert %s before %d was answered well",
					destination, c.deliveries[ids[i]].Number, alert, c.deliveries[ids[i-1]].Number)
			}
		}
	}
}

func (c *check) numbers(ids []string) string {
	numbers := make([]string, len(ids))
	for i, id := range ids {
		numbers[i] = fmt.Sprint(c.deliveries[id].Number)
	}
	return strings.Join(numbers, " ")
}

// ledger checks that each request has its line, that each line is complete and
// says what the receiver knows too.
func (c *check) ledger(received map[string][]Request) {
	perNotification := map[string]int{}
	for _, a := range c.history.Attempts {
		if a.Notification == "" {
			continue // to an Alertmanager
		}
		perNotification[a.Notification]++
		c.attempts[attemptKey(a.Notification, a.Number)] = a
		if a.Outcome == "" {
			c.add("attempt %s was never completed", a.ID)
		}
		if _, ok := c.deliveries[a.Notification]; !ok {
			c.add("attempt %s is of a notification that does not exist", a.ID)
		}
	}
	for _, d := range c.history.Deliveries {
		if n := perNotification[d.ID]; n != d.Attempts {
			c.add("notification %s counts %d attempts, the ledger %d", d.ID, d.Attempts, n)
		}
	}
	seen := map[string]bool{}
	for _, requests := range received {
		for _, r := range requests {
			c.line(r, seen)
		}
	}
	c.sequence()
	for key, a := range c.attempts {
		if _, told := received[a.Destination]; told && a.Outcome == "delivered" && !seen[key] {
			c.add("attempt %s is said to be delivered, and never came", a.ID)
		}
	}
}

// sequence checks by the ledger's times that nothing was tried about an alert
// before the good answer to the notification before it was known.
func (c *check) sequence() {
	type stream struct{ alert, destination string }
	byStream := map[stream][]Delivery{}
	for _, d := range c.history.Deliveries {
		s := stream{d.Alert, d.Destination}
		byStream[s] = append(byStream[s], d)
	}
	for _, deliveries := range byStream {
		slices.SortFunc(deliveries, func(a, b Delivery) int { return cmp.Compare(a.Number, b.Number) })
		for i := 1; i < len(deliveries); i++ {
			before, after := deliveries[i-1], deliveries[i]
			last := c.attempts[attemptKey(before.ID, before.Attempts)]
			first := c.attempts[attemptKey(after.ID, 1)]
			if last.Outcome != "delivered" || first.StartedAt.Before(last.FinishedAt) {
				c.add("notification %s was tried at %v, before %s was delivered at %v (%s)",
					after.ID, first.StartedAt, before.ID, last.FinishedAt, last.Outcome)
			}
		}
	}
}

// line checks the line of the ledger that a request has.
func (c *check) line(r Request, seen map[string]bool) {
	key := attemptKey(r.ID, r.Attempt)
	a, ok := c.attempts[key]
	if !ok {
		c.add("attempt %d of notification %s came and is not in the ledger", r.Attempt, r.ID)
		return
	}
	if seen[key] {
		c.add("attempt %d of notification %s came twice", r.Attempt, r.ID)
	}
	seen[key] = true
	possible := map[Answer][]string{
		OK:      {"delivered", "unknown", "interrupted"},
		Slow:    {"delivered", "unknown", "interrupted"},
		Late:    {"unknown", "interrupted"},
		Fail:    {"retry", "unknown", "interrupted"},
		Refuse:  {"refused", "unknown", "interrupted"},
		Silent:  {"unknown", "interrupted"},
		Dropped: {"unknown", "interrupted"},
	}
	if !slices.Contains(possible[r.Answer], a.Outcome) {
		c.add("attempt %s was answered by %s, and the ledger says %s", a.ID, r.Answer, a.Outcome)
	}
}

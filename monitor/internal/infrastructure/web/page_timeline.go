package web

import (
	"net/http"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// timelineView is the page of one alert.
type timelineView struct {
	ID, Name, Group string
	State           stateView
	Since           time.Time
	Value           domain.Decimal
	Episode         int64
	// Forgotten is set when only the history is left of the alert.
	Forgotten   bool
	Labels      []labelView
	Annotations []labelView
	Rule        *RuleInfo // nil when it is configured no longer
	RuleAnchor  string
	Newest      *nowEntry
	Entries     []entry
	// Cut is set when there may be more history than the page shows.
	Cut bool
}

// nowEntry is the line above the newest entry, for an alert that lasts.
type nowEntry struct {
	entry
	State string
	Value domain.Decimal
}

// timelineLimit is the greatest number of lines of a kind that the reader gives.
const timelineLimit = 500

// alertsOrTimeline serves /alerts, whose id is what notifications link to.
func (s *Server) alertsOrTimeline(r *http.Request, now time.Time) (view, error) {
	if r.Form.Has("id") {
		return s.timelinePage(r, now)
	}
	return s.alertsPage(r, now)
}

func (s *Server) timelinePage(r *http.Request, now time.Time) (view, error) {
	t, err := s.timeline(r, r.Form.Get("id"))
	if err != nil {
		return view{}, err
	}
	a := t.Alert
	if a == nil {
		a = remembered(t.Transitions[0])
	}
	rules := s.ruleSet()
	data := timelineView{
		ID: a.ID, Name: a.Name, Group: rules.groupName(a.Group), State: timelineState(*a, t, rules), Since: sinceOf(*a),
		Value: a.Value, Episode: a.Episode, Forgotten: t.Alert == nil,
		Labels: labelViews(a.Labels, ""), Annotations: labelViews(a.Annotations, ""),
		Entries: buildTimeline(t),
		Cut:     len(t.Transitions) >= timelineLimit || len(t.Attempts) >= timelineLimit,
	}
	if rule, ok := rules.by[ruleKey{a.Group, a.Rule}]; ok {
		data.Rule, data.RuleAnchor = &rule, ruleAnchor(a.Group, rule)
	}
	v := view{Title: data.Name, Page: "timeline"}
	if t.Alert != nil && isActive(*a) && len(data.Entries) > 0 {
		newest := data.Entries[0]
		data.Newest = &nowEntry{
			entry: entry{At: now, Above: newest.Above, Elapsed: now.Sub(newest.At)},
			State: "still " + string(a.State), Value: a.Value,
		}
		if a.Hold != domain.HoldNone {
			data.Newest.State = "still held: " + string(a.Hold)
		}
	}
	if a.State == domain.Firing {
		v.Count = 1
	}
	v.Data = data
	return v, nil
}

// remembered is what the last transition tells of an alert that is forgotten.
func remembered(t domain.Transition) *domain.Alert {
	return &domain.Alert{
		ID: t.Alert, Group: t.Group, Rule: t.Rule, Name: t.Name, Labels: t.Labels, Annotations: t.Annotations,
		State: t.To, Hold: t.Hold, Episode: t.Episode, Value: t.Value,
		ActiveAt: t.ActiveAt, FiredAt: t.FiredAt, ResolvedAt: t.ResolvedAt,
	}
}

// timelineState knows from the history how the alert has ended.
func timelineState(a domain.Alert, t application.Timeline, rules ruleSet) stateView {
	if a.State != domain.Inactive || len(t.Transitions) == 0 {
		return stateOf(application.AlertView{Alert: a}, rules)
	}
	switch t.Transitions[0].Kind {
	case domain.RuleDeleted:
		return stateView{Class: "deleted", Name: "rule deleted"}
	case domain.BecameInactive:
		return stateView{Class: "resolved", Name: "inactive", Title: "It was pending and has never fired."}
	}
	return stateView{Class: "resolved", Name: "resolved"}
}

func (s ruleSet) groupName(id string) string {
	if g, ok := s.groups[id]; ok {
		return g.Name
	}
	return id
}

// Dot is the class of the mark that the entry makes on the axis.
func (e entry) Dot() string {
	switch {
	case e.Transition != nil:
		return "state-" + e.Above
	case e.Attempt != nil:
		return "try " + outcomeClass(e.Attempt.Outcome)
	case e.Delivery != nil:
		return "try " + deliveryClass(e.Delivery.State)
	}
	return "none"
}

// Outcome is the class of the attempt's outcome.
func (e entry) Outcome() string { return outcomeClass(e.Attempt.Outcome) }

// DeliveryClass is the class of the delivery's state.
func (e entry) DeliveryClass() string { return deliveryClass(e.Delivery.State) }

// Kind is what happened, in words.
func (e entry) Kind() string {
	if e.Transition.Kind == domain.BecameHeld {
		return "held: " + string(e.Transition.Hold)
	}
	return kindName(e.Transition.Kind)
}

// Tells names the transition that the entry's attempt or delivery tells of.
func (e entry) Tells() string {
	switch {
	case e.About != nil:
		return kindName(e.About.Kind)
	case e.Delivery != nil:
		return kindName(e.Delivery.Kind)
	}
	return ""
}

// Room is the class of the space below the entry, which grows with the logarithm
// of the time that passed.
func (e entry) Room() string {
	switch {
	case e.Elapsed < 2*time.Second:
		return "room0"
	case e.Elapsed < 30*time.Second:
		return "room1"
	case e.Elapsed < 5*time.Minute:
		return "room2"
	case e.Elapsed < time.Hour:
		return "room3"
	}
	return "room4"
}

// ShowElapsed reports whether the time that passed is worth a text.
func (e entry) ShowElapsed() bool { return e.Elapsed >= 30*time.Second }

func outcomeClass(o domain.Outcome) string {
	switch o {
	case domain.OutcomeDelivered:
		return "ok"
	case domain.OutcomeRefused:
		return "bad"
	case "":
		return "wait"
	}
	return "warn"
}

func deliveryClass(s domain.DeliveryState) string {
	switch s {
	case domain.Delivered:
		return "ok"
	case domain.Refused:
		return "bad"
	case domain.Abandoned:
		return "off"
	}
	return "wait"
}

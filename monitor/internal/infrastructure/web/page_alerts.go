package web

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// maxRows bounds a page's table; the filter finds the rest.
const maxRows = 1000

// alertsData is the page of the alerts.
type alertsData struct {
	Tiles []tile
	Rows  []alertRow
	// Known counts all alerts, Found those that the filter asks for, of which Rows
	// may be only the first.
	Known, Found int
	Rules        int
}

// tile is one of the counts at the top, and a filter for what it counts.
type tile struct {
	Name, Class, Filter string
	Count               int
}

// alertRow is one alert.
type alertRow struct {
	ID, Name, Summary string
	State             stateView
	Labels            []labelView
	Since             time.Time
	Value             domain.Decimal
	Chips             []chip
}

// stateView is the state of an alert in words and as a class of the stylesheet.
type stateView struct {
	Class, Name string
	// Note says what else there is to know: a hold, a keep_firing_for.
	Note, NoteClass, Title string
}

// chip is the last that a destination was told.
type chip struct {
	Destination, Text, Class, Title string
	At                              time.Time // shown instead of Text when not zero
	open                            bool      // not delivered yet
}

func (s *Server) alertsPage(r *http.Request, now time.Time) (view, error) {
	v, f := filtered(r, "Alerts", "alerts", `alertname="X", severity=~"page|ticket", free text`)
	all, err := s.config.Reader.Alerts(r.Context())
	if err != nil {
		return v, err
	}
	rules := s.ruleSet()
	data := alertsData{Rules: rules.alerting}
	counts := map[string]int{}
	for _, a := range all {
		if !isActive(a.Alert) && a.FiredAt.IsZero() {
			continue // it was pending and came to nothing
		}
		state := stateOf(a, rules)
		data.Known++
		counts[state.Class]++
		if a.Hold != domain.HoldNone {
			counts["held"]++
		}
		if !f.matches(a.Labels, filterLabels(a, state), a.Name, a.Annotations["summary"], a.Annotations["description"]) {
			continue
		}
		if data.Found++; data.Found <= maxRows {
			data.Rows = append(data.Rows, newAlertRow(a, state, v.Filter))
		}
	}
	if err := s.addHeld(r, data.Rows); err != nil {
		return v, err
	}
	data.Tiles = tiles(counts)
	v.Count, v.Data = counts["firing"], data
	return v, nil
}

func tiles(counts map[string]int) []tile {
	return []tile{
		{Name: "firing", Class: "firing", Filter: `state="firing"`, Count: counts["firing"]},
		{Name: "pending", Class: "pending", Filter: `state="pending"`, Count: counts["pending"]},
		{Name: "held", Class: "held", Filter: `hold!=""`, Count: counts["held"]},
		{Name: "ended recently", Class: "resolved", Filter: `state=~"resolved|deleted"`, Count: counts["resolved"] + counts["deleted"]},
	}
}

// filterLabels are what the filter knows of an alert besides its labels.
func filterLabels(a application.AlertView, state stateView) map[string]string {
	return map[string]string{"state": state.Class, "hold": string(a.Hold)}
}

func newAlertRow(a application.AlertView, state stateView, filter string) alertRow {
	row := alertRow{
		ID: a.ID, Name: a.Name, State: state, Value: a.Value,
		Summary: firstLine(cmp.Or(a.Annotations["summary"], a.Annotations["description"])),
		Labels:  labelViews(a.Labels, filter, "alertname"),
		Since:   sinceOf(a.Alert),
	}
	for _, l := range a.Last {
		row.Chips = append(row.Chips, newChip(l))
	}
	slices.SortFunc(row.Chips, func(a, b chip) int { return strings.Compare(a.Destination, b.Destination) })
	return row
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func sinceOf(a domain.Alert) time.Time {
	switch a.State {
	case domain.Firing:
		return cmp.Or(a.FiredAt, a.ActiveAt)
	case domain.Pending:
		return a.ActiveAt
	}
	return a.ResolvedAt
}

// stateOf words the state of an alert. An alert that ended because its rule went
// away is not called resolved: nobody has seen its condition to be false.
func stateOf(a application.AlertView, rules ruleSet) stateView {
	v := stateView{Class: string(a.State), Name: string(a.State)}
	if a.State == domain.Inactive {
		v.Class, v.Name = "resolved", "resolved"
		if endedByDeletion(a) || !rules.has(a.Group, a.Rule) {
			v.Class, v.Name = "deleted", "rule deleted"
		}
		return v
	}
	switch {
	case a.Hold != domain.HoldNone:
		v.Note, v.NoteClass, v.Title = "held: "+string(a.Hold), "held", holdTitle(a.Alert)
	case !a.KeepFiringSince.IsZero():
		v.Note, v.NoteClass = "kept", "pending"
		v.Title = "The condition is false since " + newMoment(a.KeepFiringSince, a.KeepFiringSince).Full + "; keep_firing_for keeps the alert firing."
	}
	return v
}

func endedByDeletion(a application.AlertView) bool {
	return slices.ContainsFunc(a.Last, func(l application.LastDelivery) bool { return l.Kind == domain.RuleDeleted })
}

func holdTitle(a domain.Alert) string {
	why := "the rule's evaluation fails"
	if a.Hold == domain.HoldStale {
		why = "the source of its samples is down"
	}
	return fmt.Sprintf("Kept as it was since %s: %s, so whether the condition holds is not known.", newMoment(a.HeldSince, a.HeldSince).Full, why)
}

func newChip(l application.LastDelivery) chip {
	c := chip{Destination: l.Destination, Title: chipTitle(l), open: l.State == domain.Undelivered}
	switch {
	case l.State == domain.Delivered:
		c.Class, c.At = "ok", l.At
	case l.State == domain.Refused:
		c.Class, c.Text = "bad", "refused"
	case l.State == domain.Abandoned:
		c.Class, c.Text = "off", "given up"
	case l.Attempts == 0:
		c.Class, c.Text = "wait", "queued"
	case l.Answer == "":
		c.Class, c.Text = "wait", "sending"
	default:
		c.Class, c.Text = "warn", fmt.Sprintf("retry %d", l.Attempts)
	}
	return c
}

// addHeld adds to the chips of what is not delivered what the outbox knows of it.
func (s *Server) addHeld(r *http.Request, rows []alertRow) error {
	if !slices.ContainsFunc(rows, alertRow.open) {
		return nil
	}
	destinations, err := s.config.Reader.Outbox(r.Context())
	if err != nil {
		return err
	}
	type place struct{ destination, alert string }
	held := map[place]outbox.Hold{}
	for _, d := range destinations {
		for _, h := range d.Held {
			if h.State != outbox.Waiting { // what it waits for says more
				held[place{d.Destination, h.Key}] = h.Hold
			}
		}
	}
	for _, row := range rows {
		for i := range row.Chips {
			c := &row.Chips[i]
			if h, ok := held[place{c.Destination, row.ID}]; ok && c.open {
				c.hold(h)
			}
		}
	}
	return nil
}

func (r alertRow) open() bool {
	return slices.ContainsFunc(r.Chips, func(c chip) bool { return c.open })
}

func (c *chip) hold(h outbox.Hold) {
	if h.State == outbox.Parked {
		c.Class, c.Text = "bad", "parked"
		c.Title += " · not tried again until a person decides: " + h.Reason
		return
	}
	c.Class, c.Text = "warn", fmt.Sprintf("retry %d", h.Attempts)
	c.Title += " · next attempt " + newMoment(h.NextAt, h.NextAt).Full
}

func chipTitle(l application.LastDelivery) string {
	parts := []string{l.Destination}
	if l.Kind != "" {
		parts = append(parts, kindName(l.Kind))
	}
	parts = append(parts, string(l.State)+" "+newMoment(l.At, l.At).Full)
	if l.Attempts > 0 {
		parts = append(parts, count(l.Attempts, "attempt", "attempts"))
	}
	if l.Answer != "" {
		parts = append(parts, l.Answer)
	}
	return strings.Join(parts, " · ")
}

func kindName(k domain.TransitionKind) string { return strings.ReplaceAll(string(k), "_", " ") }

// ruleSet is the alerting rules that are configured.
type ruleSet struct {
	by       map[ruleKey]RuleInfo
	groups   map[string]GroupInfo
	alerting int
}

func (s *Server) ruleSet() ruleSet {
	set := ruleSet{by: map[ruleKey]RuleInfo{}, groups: map[string]GroupInfo{}}
	for _, g := range s.config.Groups() {
		set.groups[g.ID] = g
		for _, r := range g.Rules {
			if r.Type == Alerting {
				set.by[ruleKey{g.ID, r.UID}] = r
				set.alerting++
			}
		}
	}
	return set
}

func (s ruleSet) has(group, uid string) bool {
	_, ok := s.by[ruleKey{group, uid}]
	return ok
}

package domain

import "time"

// Rule is what the state machine needs to know of an alerting rule.
type Rule struct {
	// UID names the rule within its group across restarts and reloads.
	UID           string
	Name          string
	For           time.Duration
	KeepFiringFor time.Duration
}

// Group is a rule group, with its alerting rules in file order.
type Group struct {
	// ID is the rule file and the group's name.
	ID       string
	Interval time.Duration
	// Limit is the greatest number of active alerts of one rule; 0 means none.
	Limit int
	Rules []Rule
}

// GapPolicy says how time in which a group was not evaluated counts for the for
// and keep_firing_for of its alerts.
type GapPolicy string

// The policies.
const (
	GapShift GapPolicy = "shift" // it does not count (Prometheus' way after a restart)
	GapCount GapPolicy = "count" // it counts as if the condition had held
	GapReset GapPolicy = "reset" // for starts anew
)

// Evaluations is what is remembered of a group's evaluations. It is an
// aggregate: one document for each group, whose version guards the slot.
type Evaluations struct {
	ID string `json:"id"` // the group's
	// Slot is the last slot that was committed. A slot at or before it must not
	// be evaluated again.
	Slot time.Time `json:"slot"`
	// Interval is the group's at that slot: after a reload with a shorter one, the
	// wait for the next slot is no gap.
	Interval time.Duration `json:"interval,omitempty"`
	// Missed counts the slots that were never evaluated.
	Missed int64 `json:"missed,omitempty"`
	// Rules is the health of each alerting rule, by UID.
	Rules map[string]RuleHealth `json:"rules,omitempty"`
	// Forgotten are the greatest numbers of the group's removed alerts.
	Forgotten Counters `json:"forgotten,omitzero"`
}

// Counters are the two numbers of an alert that only grow.
type Counters struct {
	Episode int64 `json:"episode,omitempty"`
	Changes int64 `json:"changes,omitempty"`
}

// RuleHealth is what is remembered of a rule's evaluations.
type RuleHealth struct {
	// LastError is empty after a good evaluation.
	LastError  string    `json:"lastError,omitempty"`
	ErrorSince time.Time `json:"errorSince,omitzero"`
	// Refused counts the alerts that the group's limit kept out at the last slot.
	Refused int `json:"refused,omitempty"`
}

// Sample is one element of a rule's result, with the alert's labels and
// annotations already expanded.
type Sample struct {
	Labels      map[string]string
	Annotations map[string]string
	Value       float64
}

// Result is what the evaluation of one rule gave.
type Result struct {
	Samples []Sample
	// Err is set when the query or the expansion of the labels failed.
	Err error
	// Stale reports whether a source of the rule's samples that bears on an
	// alert with these labels is down, so that its absence from Samples means
	// nothing. nil means that no source is down.
	Stale func(labels map[string]string) bool
}

// Input is all that one evaluation of a group depends on.
type Input struct {
	Group       Group
	Evaluations Evaluations // its zero value at the group's first evaluation
	Alerts      []Alert     // all of the group, inactive ones included
	Results     []Result    // one for each rule of the group, in its order
	Slot        time.Time
	OnGap       GapPolicy
}

// Output is what one evaluation changes.
type Output struct {
	Evaluations Evaluations
	// Changed are the alerts to store: new ones and those that differ from
	// before.
	Changed []Alert
	// Removed are the alerts to forget, by ID.
	Removed []string
	// Transitions are in the order of the rules; those of one alert in the order
	// in which they happened.
	Transitions []Transition
}

package domain

import "time"

// State is the state of an alert.
type State string

// The states. An inactive alert has been firing and is kept for a while, since
// destinations that need repetition are told more than once that it is over.
const (
	Inactive State = "inactive"
	Pending  State = "pending"
	Firing   State = "firing"
)

// Hold says why an alert keeps its state although its condition could not be
// evaluated.
type Hold string

// The reasons for a hold.
const (
	HoldNone  Hold = ""      // the condition was evaluated
	HoldError Hold = "error" // the rule's evaluation failed
	HoldStale Hold = "stale" // the source of the samples is down
)

// Alert is one label set that a rule has produced. It is an aggregate: one
// document for each.
type Alert struct {
	// ID is the group's id, the rule's UID and the fingerprint of the labels.
	ID          string            `json:"id"`
	Group       string            `json:"group"`
	Rule        string            `json:"rule"` // UID of the rule
	Name        string            `json:"name"` // the rule's name
	Fingerprint string            `json:"fingerprint"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`

	State State `json:"state"`
	Hold  Hold  `json:"hold,omitempty"`
	// Episode counts how often the alert has become active, from 1. With ID it
	// names one life of the alert, from active to resolved.
	Episode int64 `json:"episode"`
	// Changes counts the transitions of the alert in its whole life; it numbers
	// them. An alert that was removed in between counts on from its group's
	// Evaluations.Forgotten, and so does Episode.
	Changes int64   `json:"changes"`
	Value   Decimal `json:"value"`

	// ActiveAt is the first slot at which the condition was true, shifted by
	// later gaps where the policy says so. FiredAt is the slot at which it became
	// firing, KeepFiringSince the first slot at which the condition was false
	// while keep_firing_for holds it, ResolvedAt the slot at which it ended, and
	// HeldSince the slot at which the hold began. Zero where not so; when the
	// alert ends, the first three stay until it is active again.
	ActiveAt        time.Time `json:"activeAt,omitzero"`
	FiredAt         time.Time `json:"firedAt,omitzero"`
	KeepFiringSince time.Time `json:"keepFiringSince,omitzero"`
	ResolvedAt      time.Time `json:"resolvedAt,omitzero"`
	HeldSince       time.Time `json:"heldSince,omitzero"`
}

// TransitionKind says what happened to an alert.
type TransitionKind string

// The kinds of transitions.
const (
	BecamePending  TransitionKind = "pending"      // inactive → pending
	BecameFiring   TransitionKind = "firing"       // → firing, in the same slot as pending when there is no for
	BecameResolved TransitionKind = "resolved"     // firing → inactive: evaluated, and false
	BecameInactive TransitionKind = "inactive"     // pending → inactive; a record, no notification
	FellBack       TransitionKind = "fell_back"    // firing → pending, because for was lengthened
	BecameHeld     TransitionKind = "held"         // the condition can not be evaluated; Hold says why
	HoldEnded      TransitionKind = "hold_ended"   // it can again, and the state stays
	RuleDeleted    TransitionKind = "rule_deleted" // pending or firing → inactive: the rule is gone
)

// Transition is one change of one alert: what the history shows and what
// notifications are made of.
type Transition struct {
	// ID is Alert, '#', and the alert's Changes after it: stable and unique.
	ID      string         `json:"id"`
	Alert   string         `json:"alert"`
	Group   string         `json:"group"`
	Rule    string         `json:"rule"`
	Name    string         `json:"name"`
	Episode int64          `json:"episode"`
	Number  int64          `json:"number"` // Alert.Changes after it
	Kind    TransitionKind `json:"kind"`
	From    State          `json:"from"`
	To      State          `json:"to"`
	Hold    Hold           `json:"hold,omitempty"`
	// Slot is the evaluation's time.
	Slot        time.Time         `json:"slot"`
	Value       Decimal           `json:"value"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	ActiveAt    time.Time         `json:"activeAt,omitzero"`
	FiredAt     time.Time         `json:"firedAt,omitzero"`
	ResolvedAt  time.Time         `json:"resolvedAt,omitzero"`
	// Reason says in words why, where the kind does not say it all.
	Reason string `json:"reason,omitempty"`
}

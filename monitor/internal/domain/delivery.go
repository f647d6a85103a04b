package domain

import (
	"crypto/sha256"
	"fmt"
	"time"
)

// Notification is what one destination is to be told about one transition. It is
// the payload of an outbox message.
type Notification struct {
	// ID is stable and the same in every attempt: see NotificationID.
	ID          string     `json:"id"`
	Destination string     `json:"destination"`
	Transition  Transition `json:"transition"`
	// ExternalURL is where tocsin's page can be reached.
	ExternalURL string `json:"externalURL,omitempty"`
	// Late is set when the transition was found more than one interval after its
	// slot.
	Late bool `json:"late,omitempty"`
}

// NotificationID returns the id of the notification of a transition to a
// destination: 32 hexadecimal digits, safe in headers and keys.
func NotificationID(transition, destination string) string {
	sum := sha256.Sum256([]byte(transition + "\x00" + destination))
	return fmt.Sprintf("%x", sum[:16])
}

// Notifies reports whether destinations are told of transitions of this kind.
// The others are for the record.
func (k TransitionKind) Notifies() bool {
	switch k {
	case BecameFiring, BecameResolved, BecameHeld, HoldEnded, RuleDeleted, FellBack:
		return true
	}
	return false
}

// Notifies reports whether destinations are told of the transition: those of an
// alert that has not fired are for the record.
func (t Transition) Notifies() bool {
	return t.Kind.Notifies() && !t.FiredAt.IsZero()
}

// DeliveryState says how far a notification has come.
type DeliveryState string

// The states of a delivery. Whether one that is not delivered is parked, and when
// the next attempt is due, is in the outbox.
const (
	Undelivered DeliveryState = "undelivered"
	Delivered   DeliveryState = "delivered"
	Refused     DeliveryState = "refused"   // the destination refused it for good
	Abandoned   DeliveryState = "abandoned" // given up by a person, or its destination was removed
)

// Delivery is the record of one notification. It is an aggregate, made in the
// unit of the transition and changed by each attempt.
type Delivery struct {
	ID          string         `json:"id"` // the notification's
	Transition  string         `json:"transition"`
	Alert       string         `json:"alert"`
	Destination string         `json:"destination"`
	Kind        TransitionKind `json:"kind"`
	Number      int64          `json:"number"` // the transition's
	Slot        time.Time      `json:"slot"`
	CreatedAt   time.Time      `json:"createdAt"`
	State       DeliveryState  `json:"state"`
	// Attempts counts attempts begun; LastAnswer is what the last one gave.
	Attempts    int       `json:"attempts"`
	LastAnswer  string    `json:"lastAnswer,omitempty"`
	LastAt      time.Time `json:"lastAt,omitzero"`
	DeliveredAt time.Time `json:"deliveredAt,omitzero"`
}

// Outcome is how an attempt ended.
type Outcome string

// The outcomes. An attempt without one has not ended, as far as is known.
const (
	OutcomeDelivered   Outcome = "delivered"
	OutcomeRetry       Outcome = "retry"       // refused for now, or not reached
	OutcomeRefused     Outcome = "refused"     // refused for good
	OutcomeUnknown     Outcome = "unknown"     // sent, and the answer was lost
	OutcomeInterrupted Outcome = "interrupted" // tocsin ended during the attempt
)

// Attempt is one line of the ledger: one try to tell a destination something. It
// is written before the try starts and completed after it.
type Attempt struct {
	ID string `json:"id"` // Notification '/' Number, or a unique id for a lease
	// Notification, Transition and Alert are empty in the line of an Alertmanager
	// refresh that told nothing new.
	Notification string `json:"notification,omitempty"`
	Transition   string `json:"transition,omitempty"`
	Alert        string `json:"alert,omitempty"`
	Destination  string `json:"destination"`
	// Number counts the attempts of a notification from 1.
	Number     int       `json:"number"`
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	Outcome    Outcome   `json:"outcome,omitempty"`
	// Status is the destination's status code where it has such a thing, and
	// Detail what else it answered, shortened.
	Status int    `json:"status,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Alerts counts the alerts that a request to an Alertmanager carried.
	Alerts int `json:"alerts,omitempty"`
}

// Duration returns how long the attempt took, 0 while it lasts.
func (a Attempt) Duration() time.Duration {
	if a.FinishedAt.IsZero() {
		return 0
	}
	return a.FinishedAt.Sub(a.StartedAt)
}

// Gap is time in which a group was not evaluated.
type Gap struct {
	ID    string `json:"id"` // Group '@' To
	Group string `json:"group"`
	// From is the last slot before the gap and To the first one after it.
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Missed int64     `json:"missed"`
}

package application

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// Sender tells one destination something. It may be called from many goroutines,
// and never for two notifications of one alert at once.
type Sender interface {
	// Send makes one attempt. number counts the attempts of this notification
	// from 1.
	Send(ctx context.Context, n domain.Notification, number int) Answer
}

// Answer is what an attempt gave.
type Answer struct {
	Outcome domain.Outcome
	// After is how long to wait before the next attempt, where the destination
	// said so.
	After  time.Duration
	Status int
	Detail string
}

// String describes the answer in a line.
func (a Answer) String() string {
	switch {
	case a.Status != 0 && a.Detail != "":
		return fmt.Sprintf("%s: %d: %s", a.Outcome, a.Status, a.Detail)
	case a.Status != 0:
		return fmt.Sprintf("%s: %d", a.Outcome, a.Status)
	case a.Detail != "":
		return fmt.Sprintf("%s: %s", a.Outcome, a.Detail)
	}
	return string(a.Outcome)
}

// Delivery delivers notifications to one destination and keeps the ledger of the
// attempts: each is committed before it starts and completed after it.
type Delivery struct {
	DB          *uow.DB
	State       *State
	Destination string
	Sender      Sender
	Clock       Clock
	// Changed, when set, is called after each change of the ledger.
	Changed func()
}

// errDelivered means that the ledger says that the notification was delivered.
var errDelivered = errors.New("application: delivered before")

// Deliver makes one attempt to deliver an outbox message. When the ledger can't
// be written before the attempt, there is none; when it can't be completed after
// it, the outcome counts as unknown. A message that comes again although it was
// delivered, as after a crash before the relay could note it, is not sent again.
func (d *Delivery) Deliver(ctx context.Context, m outbox.Message) Answer {
	var n domain.Notification
	if err := json.Unmarshal(m.Payload, &n); err != nil {
		return Answer{Outcome: domain.OutcomeRefused, Detail: fmt.Sprintf("application: message %s is no notification: %v", m.ID, err)}
	}
	number, err := d.begin(ctx, n)
	if errors.Is(err, errDelivered) {
		return Answer{Outcome: domain.OutcomeDelivered, Detail: "the ledger says that it was delivered before"}
	}
	if err != nil {
		return Answer{Outcome: domain.OutcomeRetry, Detail: "the attempt could not be recorded: " + err.Error()}
	}
	answer := d.Sender.Send(ctx, n, number)
	// The attempt was made: its record does not end with the caller.
	if err := d.finish(context.WithoutCancel(ctx), n, number, answer); err != nil {
		return Answer{Outcome: domain.OutcomeUnknown, Detail: "the attempt's outcome could not be recorded: " + err.Error()}
	}
	return answer
}

func attemptID(notification string, number int) string {
	return notification + "/" + strconv.Itoa(number)
}

func (d *Delivery) begin(ctx context.Context, n domain.Notification) (number int, err error) {
	now := d.Clock()
	err = d.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		delivery, err := d.State.Deliveries.In(u).Get(ctx, n.ID)
		if errors.Is(err, uow.ErrNotFound) {
			// Its retention is over; the message is what counts.
			delivery, err = revived(n, now), nil
			if err := d.State.Deliveries.In(u).Add(delivery); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		if delivery.State == domain.Delivered {
			return errDelivered
		}
		if err := d.interruptPrevious(ctx, u, delivery, now); err != nil {
			return err
		}
		delivery.Attempts++
		delivery.LastAt, delivery.LastAnswer = now, ""
		number = delivery.Attempts
		return d.State.Attempts.In(u).Add(&domain.Attempt{
			ID:           attemptID(n.ID, number),
			Notification: n.ID,
			Transition:   n.Transition.ID,
			Alert:        n.Transition.Alert,
			Destination:  d.Destination,
			Number:       number,
			StartedAt:    now,
		})
	})
	d.changed()
	return number, err
}

func revived(n domain.Notification, now time.Time) *domain.Delivery {
	return &domain.Delivery{
		ID: n.ID, Transition: n.Transition.ID, Alert: n.Transition.Alert, Destination: n.Destination,
		Kind: n.Transition.Kind, Number: n.Transition.Number, Slot: n.Transition.Slot,
		CreatedAt: now, State: domain.Undelivered,
	}
}

// interruptPrevious completes an attempt whose end nobody lived to see.
func (d *Delivery) interruptPrevious(ctx context.Context, u *uow.Unit, delivery *domain.Delivery, now time.Time) error {
	if delivery.Attempts == 0 {
		return nil
	}
	last, err := d.State.Attempts.In(u).Get(ctx, attemptID(delivery.ID, delivery.Attempts))
	if errors.Is(err, uow.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	interrupt(last, now)
	return nil
}

func interrupt(a *domain.Attempt, now time.Time) {
	if a.Outcome == "" {
		a.Outcome, a.FinishedAt = domain.OutcomeInterrupted, now
		a.Detail = "tocsin ended, or could not write, before the attempt's outcome was recorded"
	}
}

func (d *Delivery) finish(ctx context.Context, n domain.Notification, number int, answer Answer) error {
	now := d.Clock()
	err := d.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		attempt, err := d.State.Attempts.In(u).Get(ctx, attemptID(n.ID, number))
		if err != nil {
			return err
		}
		delivery, err := d.State.Deliveries.In(u).Get(ctx, n.ID)
		if err != nil {
			return err
		}
		attempt.FinishedAt, attempt.Outcome = now, answer.Outcome
		attempt.Status, attempt.Detail = answer.Status, answer.Detail
		delivery.LastAt, delivery.LastAnswer = now, answer.String()
		switch answer.Outcome {
		case domain.OutcomeDelivered:
			delivery.State, delivery.DeliveredAt = domain.Delivered, now
		case domain.OutcomeRefused:
			delivery.State = domain.Refused
		}
		return nil
	})
	d.changed()
	return err
}

func (d *Delivery) changed() {
	if d.Changed != nil {
		d.Changed()
	}
}

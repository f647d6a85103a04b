package application

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// ErrSlotDone is returned when a slot of a group has been committed already, by
// this process or another.
var ErrSlotDone = errors.New("application: the slot has been evaluated already")

// Group is a rule group as the evaluation needs it.
type Group struct {
	domain.Group
	Name string
	File string
	// Query evaluates the group's rules at the slot and returns one result for
	// each alerting rule, in order. No unit of work is open while it runs.
	Query func(ctx context.Context, slot time.Time) ([]domain.Result, error)
	// NextSlot returns the group's first slot after a time.
	NextSlot func(after time.Time) time.Time
}

// Evaluator evaluates groups: one evaluation is one unit of work.
type Evaluator struct {
	DB    *uow.DB
	State *State
	// Destinations are told of each transition, in the outbox.
	Destinations []string
	OnGap        domain.GapPolicy
	ExternalURL  string
	// Recorded, when set, gets the group's alerts after each commit, so that they
	// can be written as series.
	Recorded func(ctx context.Context, g Group, slot time.Time, alerts []domain.Alert)
	// Committed, when set, is called after each commit that had transitions.
	Committed func(transitions []domain.Transition)
	Clock     Clock
}

// Evaluate evaluates the group at the slot and commits the outcome: alert
// states, the group's evaluations, transitions, deliveries and their messages,
// all of it or nothing. It returns ErrSlotDone when the slot was committed
// before. After any other error the slot can be tried again.
func (e *Evaluator) Evaluate(ctx context.Context, g Group, slot time.Time) error {
	results, err := g.Query(ctx, slot)
	if err != nil {
		return fmt.Errorf("application: group %s: query: %w", g.ID, err)
	}
	var ev evaluation
	err = e.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		ev = evaluation{evaluator: e, unit: u, group: g, slot: slot}
		return ev.run(ctx, results)
	})
	if err != nil {
		return err
	}
	if e.Recorded != nil {
		e.Recorded(ctx, g, slot, ev.after())
	}
	if len(ev.output.Transitions) > 0 && e.Committed != nil {
		e.Committed(ev.output.Transitions)
	}
	return nil
}

// evaluation is one evaluation inside its unit.
type evaluation struct {
	evaluator *Evaluator
	unit      *uow.Unit
	group     Group
	slot      time.Time
	alerts    map[string]*domain.Alert
	order     []*domain.Alert
	output    domain.Output
}

func (ev *evaluation) run(ctx context.Context, results []domain.Result) error {
	before, isNew, err := ev.load(ctx)
	if err != nil {
		return err
	}
	if !ev.slot.After(before.Slot) {
		return ErrSlotDone
	}
	in := domain.Input{
		Group:       ev.group.Group,
		Evaluations: *before,
		Results:     results,
		Slot:        ev.slot,
		OnGap:       ev.evaluator.OnGap,
	}
	for _, a := range ev.order {
		in.Alerts = append(in.Alerts, *a)
	}
	ev.output = domain.Evaluate(in)
	if err := ev.recordGap(*before); err != nil {
		return err
	}
	*before = ev.output.Evaluations
	if isNew {
		if err := ev.evaluator.State.Evaluations.In(ev.unit).Add(before); err != nil {
			return err
		}
	}
	return ev.apply()
}

func (ev *evaluation) load(ctx context.Context) (before *domain.Evaluations, isNew bool, err error) {
	before, err = ev.evaluator.State.Evaluations.In(ev.unit).Get(ctx, ev.group.ID)
	if errors.Is(err, uow.ErrNotFound) {
		before, isNew, err = &domain.Evaluations{ID: ev.group.ID}, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	ev.order, err = ev.evaluator.State.Alerts.In(ev.unit).Find(ctx, uow.Query{
		Where: []uow.Condition{uow.Equal("rule_group", ev.group.ID)},
	})
	ev.alerts = make(map[string]*domain.Alert, len(ev.order))
	for _, a := range ev.order {
		ev.alerts[a.ID] = a
	}
	return before, isNew, err
}

func (ev *evaluation) recordGap(before domain.Evaluations) error {
	missed := ev.output.Evaluations.Missed - before.Missed
	if missed <= 0 {
		return nil
	}
	return ev.evaluator.State.Gaps.In(ev.unit).Add(&domain.Gap{
		ID:     ev.group.ID + "@" + ev.slot.UTC().Format(time.RFC3339Nano),
		Group:  ev.group.ID,
		From:   before.Slot,
		To:     ev.slot,
		Missed: missed,
	})
}

func (ev *evaluation) apply() error {
	alerts := ev.evaluator.State.Alerts.In(ev.unit)
	for _, changed := range ev.output.Changed {
		if known, ok := ev.alerts[changed.ID]; ok {
			*known = changed
			continue
		}
		added := changed
		ev.alerts[added.ID] = &added
		ev.order = append(ev.order, &added)
		if err := alerts.Add(&added); err != nil {
			return err
		}
	}
	for _, id := range ev.output.Removed {
		if err := alerts.Remove(ev.alerts[id]); err != nil {
			return err
		}
		delete(ev.alerts, id)
	}
	return recordTransitions(ev.evaluator, ev.unit, ev.output.Transitions, ev.late())
}

func (ev *evaluation) late() bool {
	return ev.evaluator.Clock().Sub(ev.slot) > ev.group.Interval
}

// after returns the group's alerts as committed.
func (ev *evaluation) after() []domain.Alert {
	out := make([]domain.Alert, 0, len(ev.alerts))
	for _, a := range ev.order {
		if _, kept := ev.alerts[a.ID]; kept {
			out = append(out, *a)
		}
	}
	return out
}

// recordTransitions adds to the unit the history, and for each destination the
// delivery and its message.
func recordTransitions(e *Evaluator, u *uow.Unit, transitions []domain.Transition, late bool) error {
	for _, t := range transitions {
		if err := e.State.Transitions.In(u).Add(&t); err != nil {
			return err
		}
		if !t.Notifies() {
			continue
		}
		for _, destination := range e.Destinations {
			n := domain.Notification{
				ID:          domain.NotificationID(t.ID, destination),
				Destination: destination,
				Transition:  t,
				ExternalURL: e.ExternalURL,
				Late:        late,
			}
			if err := e.notify(u, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Evaluator) notify(u *uow.Unit, n domain.Notification) error {
	payload, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("application: notification of %s: %w", n.Transition.ID, err)
	}
	err = e.State.Deliveries.In(u).Add(&domain.Delivery{
		ID:          n.ID,
		Transition:  n.Transition.ID,
		Alert:       n.Transition.Alert,
		Destination: n.Destination,
		Kind:        n.Transition.Kind,
		Number:      n.Transition.Number,
		Slot:        n.Transition.Slot,
		CreatedAt:   u.Now(),
		State:       domain.Undelivered,
	})
	if err != nil {
		return err
	}
	return outbox.Append(u, outbox.Message{
		ID:            n.ID,
		Topic:         Topic(n.Destination),
		Key:           n.Transition.Alert,
		Type:          "tocsin.alert." + string(n.Transition.Kind),
		AggregateType: "alert",
		AggregateID:   n.Transition.Alert,
		Payload:       payload,
		Headers:       map[string]string{"content-type": "application/json"},
	})
}

// Topic returns the outbox topic of a destination, which is the name of its
// cursor too.
func Topic(destination string) string { return "destination/" + destination }

package application

import (
	"time"

	"github.com/uow-go/uow"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// State is what tocsin keeps: its collections. Make one by NewState and open the
// database with its Collections.
type State struct {
	Alerts      *uow.Collection[domain.Alert]
	Evaluations *uow.Collection[domain.Evaluations]
	Transitions *uow.Collection[domain.Transition]
	Deliveries  *uow.Collection[domain.Delivery]
	Attempts    *uow.Collection[domain.Attempt]
	Gaps        *uow.Collection[domain.Gap]
}

// NewState defines the collections.
func NewState() *State {
	return &State{
		Alerts: uow.Define(uow.CollectionConfig[domain.Alert]{Name: "alerts", Indexes: []uow.Index[domain.Alert]{
			{Name: "rule_group", Kind: uow.String, Value: func(a *domain.Alert) any { return a.Group }},
			{Name: "state", Kind: uow.String, Value: func(a *domain.Alert) any { return a.State }},
		}}),
		Evaluations: uow.NewCollection[domain.Evaluations]("evaluations"),
		Transitions: uow.Define(uow.CollectionConfig[domain.Transition]{Name: "transitions", Disposable: true, Indexes: []uow.Index[domain.Transition]{
			{Name: "alert", Kind: uow.String, Value: func(t *domain.Transition) any { return t.Alert }},
			{Name: "slot", Kind: uow.Time, Value: func(t *domain.Transition) any { return t.Slot }},
		}}),
		Deliveries: uow.Define(uow.CollectionConfig[domain.Delivery]{Name: "deliveries", Disposable: true, Indexes: []uow.Index[domain.Delivery]{
			{Name: "alert", Kind: uow.String, Value: func(d *domain.Delivery) any { return d.Alert }},
			{Name: "destination", Kind: uow.String, Value: func(d *domain.Delivery) any { return d.Destination }},
			{Name: "state", Kind: uow.String, Value: func(d *domain.Delivery) any { return d.State }},
			{Name: "created_at", Kind: uow.Time, Value: func(d *domain.Delivery) any { return d.CreatedAt }},
		}}),
		Attempts: uow.Define(uow.CollectionConfig[domain.Attempt]{Name: "attempts", Disposable: true, Indexes: []uow.Index[domain.Attempt]{
			{Name: "alert", Kind: uow.String, Value: func(a *domain.Attempt) any { return optional(a.Alert) }},
			{Name: "outcome", Kind: uow.String, Value: func(a *domain.Attempt) any { return optional(string(a.Outcome)) }},
			{Name: "started_at", Kind: uow.Time, Value: func(a *domain.Attempt) any { return a.StartedAt }},
		}}),
		Gaps: uow.Define(uow.CollectionConfig[domain.Gap]{Name: "gaps", Disposable: true, Indexes: []uow.Index[domain.Gap]{
			{Name: "rule_group", Kind: uow.String, Value: func(g *domain.Gap) any { return g.Group }},
			{Name: "ended_at", Kind: uow.Time, Value: func(g *domain.Gap) any { return g.To }},
		}}),
	}
}

func optional(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Collections lists the collections for uow.Config.
func (s *State) Collections() []uow.AnyCollection {
	return []uow.AnyCollection{s.Alerts, s.Evaluations, s.Transitions, s.Deliveries, s.Attempts, s.Gaps}
}

// Clock tells the time; tests replace it.
type Clock func() time.Time

package application

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// Reader answers what pages and the API ask. Each method reads one snapshot.
type Reader struct {
	DB    *uow.DB
	State *State
	Log   outbox.Log
	// Destinations have an outbox topic; Alertmanagers are informed by leases.
	Destinations  []string
	Alertmanagers []string
	Clock         Clock
}

// AlertView is an alert with the last that each destination was, or is to be,
// told of it.
type AlertView struct {
	domain.Alert
	Last []LastDelivery
}

// LastDelivery is the newest thing that one destination is to know of an alert.
type LastDelivery struct {
	Destination string
	State       domain.DeliveryState
	Kind        domain.TransitionKind
	At          time.Time
	Attempts    int
	Answer      string
}

// Timeline is the history of one alert, newest first.
type Timeline struct {
	// Alert is nil when the alert is over and forgotten.
	Alert       *domain.Alert
	Transitions []domain.Transition
	Deliveries  []domain.Delivery
	Attempts    []domain.Attempt
	Gaps        []domain.Gap
}

// DestinationView is the state of one destination's delivery.
type DestinationView struct {
	Destination string
	// Waiting counts notifications that are held; Parked those of them that need
	// a person.
	Retrying, Waiting, Parked int64
	// Undelivered counts notifications without a good answer, and OldestAt is
	// when the oldest of them was committed.
	Undelivered int
	OldestAt    time.Time
	Held        []outbox.Held
}

const (
	maxTimeline = 500
	maxHeld     = 100
	idsPerQuery = 500
)

// Alerts returns all alerts that tocsin remembers: active ones, and inactive ones
// for a while. Firing ones come first, then pending ones; newest first.
func (r *Reader) Alerts(ctx context.Context) (out []AlertView, err error) {
	err = r.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		found, err := r.State.Alerts.In(u).Find(ctx, uow.Query{})
		if err != nil {
			return err
		}
		out = make([]AlertView, len(found))
		ids := make([]string, len(found))
		for i, a := range found {
			out[i], ids[i] = AlertView{Alert: *a}, a.ID
		}
		last, err := r.last(ctx, u, ids)
		for i := range out {
			out[i].Last = last[out[i].ID]
		}
		return err
	})
	slices.SortFunc(out, func(a, b AlertView) int { return compareAlerts(a.Alert, b.Alert) })
	return out, err
}

// Known returns the same alerts in the same order, without the deliveries, which
// costs less.
func (r *Reader) Known(ctx context.Context) (out []domain.Alert, err error) {
	err = r.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		found, err := r.State.Alerts.In(u).Find(ctx, uow.Query{})
		out = values(found)
		return err
	})
	slices.SortFunc(out, compareAlerts)
	return out, err
}

func compareAlerts(a, b domain.Alert) int {
	rank := map[domain.State]int{domain.Firing: 0, domain.Pending: 1, domain.Inactive: 2}
	return cmp.Or(
		cmp.Compare(rank[a.State], rank[b.State]),
		b.ActiveAt.Compare(a.ActiveAt),
		cmp.Compare(a.ID, b.ID),
	)
}

// last returns, for each alert, the newest delivery to each destination.
func (r *Reader) last(ctx context.Context, u *uow.Unit, alerts []string) (map[string][]LastDelivery, error) {
	out := map[string][]LastDelivery{}
	for ids := range slices.Chunk(alerts, idsPerQuery) {
		deliveries, err := r.State.Deliveries.In(u).Find(ctx, uow.Query{
			Where: []uow.Condition{uow.In("alert", ids...)},
			Order: []uow.Order{uow.Descending("created_at")},
		})
		if err != nil {
			return nil, err
		}
		slices.SortStableFunc(deliveries, newestDelivery)
		for _, d := range deliveries {
			out[d.Alert] = withLast(out[d.Alert], lastOfDelivery(d))
		}
		if len(r.Alertmanagers) == 0 {
			continue
		}
		attempts, err := r.State.Attempts.In(u).Find(ctx, uow.Query{
			Where: []uow.Condition{uow.In("alert", ids...)},
			Order: []uow.Order{uow.Descending("started_at")},
		})
		if err != nil {
			return nil, err
		}
		for _, a := range attempts {
			if slices.Contains(r.Alertmanagers, a.Destination) {
				out[a.Alert] = withLast(out[a.Alert], lastOfAttempt(a))
			}
		}
	}
	return out, nil
}

// newestDelivery puts newer deliveries first. Those of one slot have one time.
func newestDelivery(a, b *domain.Delivery) int {
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.Number, a.Number))
}

// withLast adds a delivery unless there is a newer one to the same destination,
// which came before it.
func withLast(all []LastDelivery, l LastDelivery) []LastDelivery {
	for _, known := range all {
		if known.Destination == l.Destination {
			return all
		}
	}
	return append(all, l)
}

func lastOfDelivery(d *domain.Delivery) LastDelivery {
	return LastDelivery{
		Destination: d.Destination, State: d.State, Kind: d.Kind,
		At: cmp.Or(d.LastAt, d.CreatedAt), Attempts: d.Attempts, Answer: d.LastAnswer,
	}
}

func lastOfAttempt(a *domain.Attempt) LastDelivery {
	l := LastDelivery{Destination: a.Destination, State: domain.Undelivered, At: a.StartedAt, Attempts: 1}
	if a.Outcome != "" {
		l.Answer = Answer{Outcome: a.Outcome, Status: a.Status, Detail: a.Detail}.String()
	}
	if a.Outcome == domain.OutcomeDelivered {
		l.State = domain.Delivered
	}
	return l
}

// Timeline returns the history of one alert. errors.Is(err, uow.ErrNotFound) when
// nothing is known of it.
func (r *Reader) Timeline(ctx context.Context, alert string) (t Timeline, err error) {
	err = r.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		known, err := r.State.Alerts.In(u).Get(ctx, alert)
		if err != nil && !errors.Is(err, uow.ErrNotFound) {
			return err
		}
		t.Alert = known
		missing := err
		of := []uow.Condition{uow.Equal("alert", alert)}
		transitions, err := r.State.Transitions.In(u).Find(ctx, newest(of, "slot"))
		if err != nil {
			return err
		}
		if known == nil && len(transitions) == 0 {
			return missing
		}
		deliveries, err := r.State.Deliveries.In(u).Find(ctx, newest(of, "created_at"))
		if err != nil {
			return err
		}
		attempts, err := r.State.Attempts.In(u).Find(ctx, newest(of, "started_at"))
		if err != nil {
			return err
		}
		slices.SortStableFunc(deliveries, newestDelivery)
		t.Transitions, t.Deliveries, t.Attempts = values(transitions), values(deliveries), values(attempts)
		slices.SortStableFunc(t.Transitions, func(a, b domain.Transition) int {
			return cmp.Or(b.Slot.Compare(a.Slot), cmp.Compare(b.Number, a.Number))
		})
		if len(transitions) == 0 {
			return nil
		}
		gaps, err := r.State.Gaps.In(u).Find(ctx, newest([]uow.Condition{
			uow.Equal("rule_group", transitions[0].Group),
			uow.GreaterOrEqual("ended_at", t.Transitions[len(t.Transitions)-1].Slot),
		}, "ended_at"))
		t.Gaps = values(gaps)
		return err
	})
	return t, err
}

func newest(where []uow.Condition, by string) uow.Query {
	return uow.Query{Where: where, Order: []uow.Order{uow.Descending(by)}, Limit: maxTimeline}
}

func values[T any](pointers []*T) []T {
	out := make([]T, len(pointers))
	for i, p := range pointers {
		out[i] = *p
	}
	return out
}

// Evaluations returns what is remembered of each group, by its id.
func (r *Reader) Evaluations(ctx context.Context) (out map[string]domain.Evaluations, err error) {
	err = r.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		found, err := r.State.Evaluations.In(u).Find(ctx, uow.Query{})
		out = make(map[string]domain.Evaluations, len(found))
		for _, ev := range found {
			out[ev.ID] = *ev
		}
		return err
	})
	return out, err
}

// Outbox returns the state of the delivery to each destination.
func (r *Reader) Outbox(ctx context.Context) ([]DestinationView, error) {
	stats, err := r.Log.Stats(ctx)
	if err != nil {
		return nil, err
	}
	views := make([]DestinationView, 0, len(r.Destinations))
	for _, destination := range r.Destinations {
		v := DestinationView{Destination: destination}
		for _, c := range stats.Cursors {
			if c.Cursor == Topic(destination) {
				v.Retrying, v.Waiting, v.Parked = c.Retrying, c.Waiting, c.Parked
			}
		}
		if v.Held, err = r.Log.Held(ctx, Topic(destination), outbox.HeldFilter{Limit: maxHeld}); err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	return views, r.undelivered(ctx, views)
}

func (r *Reader) undelivered(ctx context.Context, views []DestinationView) error {
	return r.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		for i := range views {
			open, err := r.State.Deliveries.In(u).Find(ctx, uow.Query{
				Where: []uow.Condition{
					uow.Equal("state", domain.Undelivered),
					uow.Equal("destination", views[i].Destination),
				},
				Order: []uow.Order{uow.Ascending("created_at")},
			})
			if err != nil {
				return err
			}
			views[i].Undelivered = len(open)
			if len(open) > 0 {
				views[i].OldestAt = open[0].CreatedAt
			}
		}
		return nil
	})
}

// Attempts returns the newest lines of the ledger.
func (r *Reader) Attempts(ctx context.Context, limit int) (out []domain.Attempt, err error) {
	err = r.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		found, err := r.State.Attempts.In(u).Find(ctx, uow.Query{
			Order: []uow.Order{uow.Descending("started_at")},
			Limit: limit,
		})
		out = values(found)
		return err
	})
	return out, err
}

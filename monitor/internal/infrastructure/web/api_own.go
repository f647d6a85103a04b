package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

const (
	defaultDeliveries = 200
	maxDeliveries     = 1000
)

// readError finds the kind of an error of the store.
func readError(err error) *apiError {
	var known *apiError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, uow.ErrNotFound):
		return &apiError{kind: notFound, err: err}
	case errors.Is(err, context.Canceled):
		return &apiError{kind: canceled, err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &apiError{kind: timeout, err: err}
	}
	return &apiError{kind: internal, err: err}
}

// timelineData is the data of the timeline endpoints, newest first.
type timelineData struct {
	ID          string              `json:"id"`
	Alert       *domain.Alert       `json:"alert"`
	Transitions []domain.Transition `json:"transitions"`
	Deliveries  []domain.Delivery   `json:"deliveries"`
	Attempts    []domain.Attempt    `json:"attempts"`
	Gaps        []domain.Gap        `json:"gaps"`
}

func (s *Server) apiTimeline(r *http.Request) (any, error) {
	id := cmp.Or(r.PathValue("id"), r.Form.Get("id"))
	t, err := s.timeline(r, id)
	if err != nil {
		return nil, err
	}
	return timelineData{
		ID: id, Alert: t.Alert,
		Transitions: array(t.Transitions), Deliveries: array(t.Deliveries),
		Attempts: array(t.Attempts), Gaps: array(t.Gaps),
	}, nil
}

func (s *Server) timeline(r *http.Request, id string) (application.Timeline, error) {
	if id == "" {
		return application.Timeline{}, invalidParameter("id", errors.New("the id of an alert is needed"))
	}
	t, err := s.config.Reader.Timeline(r.Context(), id)
	if errors.Is(err, uow.ErrNotFound) {
		return t, apiErrorf(notFound, "nothing is known of the alert %q: %w", shorten(id), uow.ErrNotFound)
	}
	if err != nil {
		return t, readError(err)
	}
	return t, nil
}

// array makes the JSON of nothing [] and not null.
func array[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

func (s *Server) apiDeliveries(r *http.Request) (any, error) {
	limit, err := deliveriesLimit(r)
	if err != nil {
		return nil, err
	}
	attempts, err := s.config.Reader.Attempts(r.Context(), limit)
	if err != nil {
		return nil, err
	}
	return map[string]any{"attempts": array(attempts)}, nil
}

func deliveriesLimit(r *http.Request) (int, error) {
	limit, err := limitParameter(r)
	if err != nil {
		return 0, err
	}
	if limit > maxDeliveries {
		return 0, invalidParameter("limit", fmt.Errorf("found %d, expected %d at most", limit, maxDeliveries))
	}
	return cmp.Or(limit, defaultDeliveries), nil
}

// apiDestination is the outbox of one destination.
type apiDestination struct {
	Destination string     `json:"destination"`
	Undelivered int        `json:"undelivered"`
	OldestAt    *time.Time `json:"oldestAt,omitempty"`
	Retrying    int64      `json:"retrying"`
	Waiting     int64      `json:"waiting"`
	Parked      int64      `json:"parked"`
	Held        []apiHeld  `json:"held"`
}

// apiHeld is a message that is held, without its payload.
type apiHeld struct {
	ID       string           `json:"id"`
	Position int64            `json:"position"`
	Alert    string           `json:"alert"`
	Type     string           `json:"type"`
	State    outbox.HoldState `json:"state"`
	Attempts int              `json:"attempts"`
	NextAt   *time.Time       `json:"nextAt,omitempty"`
	Since    *time.Time       `json:"since,omitempty"`
	Reason   string           `json:"reason,omitempty"`
}

func (s *Server) apiOutbox(r *http.Request) (any, error) {
	views, err := s.config.Reader.Outbox(r.Context())
	if err != nil {
		return nil, err
	}
	out := make([]apiDestination, len(views))
	for i, v := range views {
		out[i] = apiDestination{
			Destination: v.Destination, Undelivered: v.Undelivered, OldestAt: optionalTime(v.OldestAt),
			Retrying: v.Retrying, Waiting: v.Waiting, Parked: v.Parked, Held: []apiHeld{},
		}
		for _, h := range v.Held {
			out[i].Held = append(out[i].Held, apiHeld{
				ID: h.Message.ID, Position: h.Position, Alert: h.Key, Type: h.Message.Type,
				State: h.State, Attempts: h.Attempts,
				NextAt: optionalTime(h.NextAt), Since: optionalTime(h.Since), Reason: h.Reason,
			})
		}
	}
	return map[string]any{"destinations": out}, nil
}

package web

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// outboxView is the page of the outbox.
type outboxView struct {
	Destinations []destinationView
	// Leased are the Alertmanagers, which are told by repetition.
	Leased      []string
	Undelivered int
	OldestAt    time.Time
}

type destinationView struct {
	application.DestinationView
	Class string
	Rows  []heldRow
	// More counts held messages that are not in Rows.
	More int64
}

// heldRow is a message that is held.
type heldRow struct {
	outbox.Held
	Class string
	// Transition is what it tells; nil when the payload cannot be read.
	Transition *domain.Transition
}

func (s *Server) outboxPage(r *http.Request, _ time.Time) (view, error) {
	v := view{Title: "Outbox", Page: "outbox"}
	all, err := s.config.Reader.Outbox(r.Context())
	if err != nil {
		return v, err
	}
	data := outboxView{Leased: s.config.Reader.Alertmanagers}
	for _, d := range all {
		data.Undelivered += d.Undelivered
		if !d.OldestAt.IsZero() && (data.OldestAt.IsZero() || d.OldestAt.Before(data.OldestAt)) {
			data.OldestAt = d.OldestAt
		}
		data.Destinations = append(data.Destinations, newDestinationView(d))
	}
	v.Data = data
	return v, nil
}

func newDestinationView(d application.DestinationView) destinationView {
	out := destinationView{DestinationView: d, Class: "ok"}
	switch {
	case d.Parked > 0:
		out.Class = "bad"
	case d.Retrying > 0:
		out.Class = "warn"
	case d.Undelivered > 0:
		out.Class = "wait"
	}
	for _, h := range d.Held {
		row := heldRow{Held: h, Class: holdClass(h.State)}
		var n domain.Notification
		if json.Unmarshal(h.Message.Payload, &n) == nil && n.Transition.ID != "" {
			row.Transition = &n.Transition
		}
		out.Rows = append(out.Rows, row)
	}
	out.More = d.Retrying + d.Waiting + d.Parked - int64(len(out.Rows))
	return out
}

// Kind is what the message tells, in words.
func (h heldRow) Kind() string { return kindName(h.Transition.Kind) }

func holdClass(s outbox.HoldState) string {
	switch s {
	case outbox.Parked:
		return "bad"
	case outbox.Retrying:
		return "warn"
	}
	return "wait"
}

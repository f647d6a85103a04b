package web

import (
	"net/http"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// deliveriesView is the page of the ledger.
type deliveriesView struct {
	Rows   []attemptRow
	Known  int
	Limit  int
	Failed int
}

type attemptRow struct {
	domain.Attempt
	Class   string
	Name    string // the alert's; empty when it is not known any more
	Labels  []labelView
	Lease   bool // a line about several alerts, told to an Alertmanager again
	Running bool
}

func (s *Server) deliveriesPage(r *http.Request, _ time.Time) (view, error) {
	v, f := filtered(r, "Deliveries", "deliveries", `destination="pager", outcome!="delivered", free text`)
	limit, err := deliveriesLimit(r)
	if err != nil {
		return v, err
	}
	attempts, err := s.config.Reader.Attempts(r.Context(), limit)
	if err != nil {
		return v, err
	}
	alerts, err := s.alerts(r)
	if err != nil {
		return v, err
	}
	known := make(map[string]domain.Alert, len(alerts))
	for _, a := range alerts {
		known[a.ID] = a
	}
	data := deliveriesView{Known: len(attempts), Limit: limit}
	for _, a := range attempts {
		alert := known[a.Alert]
		row := attemptRow{
			Attempt: a, Class: outcomeClass(a.Outcome), Name: alert.Name, Lease: a.Alert == "", Running: a.Outcome == "",
			Labels: labelViews(alert.Labels, "", "alertname"),
		}
		if a.Outcome != domain.OutcomeDelivered && a.Outcome != "" {
			data.Failed++
		}
		extra := map[string]string{"destination": a.Destination, "outcome": string(a.Outcome)}
		if f.matches(alert.Labels, extra, alert.Name, a.Detail, a.Alert, a.Notification) {
			data.Rows = append(data.Rows, row)
		}
	}
	v.Data = data
	return v, nil
}

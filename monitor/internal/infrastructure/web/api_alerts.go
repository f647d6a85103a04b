package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// apiAlert is an alert in Prometheus' API. What Prometheus does not know is in
// one object of its own.
type apiAlert struct {
	Labels          map[string]string `json:"labels"`
	Annotations     map[string]string `json:"annotations"`
	State           domain.State      `json:"state"`
	ActiveAt        *time.Time        `json:"activeAt,omitempty"`
	KeepFiringSince *time.Time        `json:"keepFiringSince,omitempty"`
	Value           string            `json:"value"`
	Tocsin          apiAlertExtra     `json:"tocsin"`
}

type apiAlertExtra struct {
	ID          string      `json:"id"`
	Fingerprint string      `json:"fingerprint"`
	Episode     int64       `json:"episode"`
	FiredAt     *time.Time  `json:"firedAt,omitempty"`
	Hold        domain.Hold `json:"hold,omitempty"`
	HeldSince   *time.Time  `json:"heldSince,omitempty"`
}

func newAPIAlert(a domain.Alert) apiAlert {
	return apiAlert{
		Labels:          object(a.Labels),
		Annotations:     object(a.Annotations),
		State:           a.State,
		ActiveAt:        optionalTime(a.ActiveAt),
		KeepFiringSince: optionalTime(a.KeepFiringSince),
		Value:           strconv.FormatFloat(float64(a.Value), 'e', -1, 64),
		Tocsin: apiAlertExtra{
			ID: a.ID, Fingerprint: a.Fingerprint, Episode: a.Episode,
			FiredAt: optionalTime(a.FiredAt), Hold: a.Hold, HeldSince: optionalTime(a.HeldSince),
		},
	}
}

// object makes the JSON of no labels {} and not null.
func object(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func isActive(a domain.Alert) bool { return a.State == domain.Pending || a.State == domain.Firing }

// alerts returns all alerts, for those who do not care who was told of them.
func (s *Server) alerts(r *http.Request) ([]domain.Alert, error) {
	all, err := s.config.Reader.Known(r.Context())
	if err != nil {
		return nil, readError(err)
	}
	return all, nil
}

// apiAlerts is /api/v1/alerts.
func (s *Server) apiAlerts(r *http.Request) (result, error) {
	all, err := s.alerts(r)
	if err != nil {
		return result{}, err
	}
	alerts := []apiAlert{}
	for _, a := range all {
		if isActive(a) {
			alerts = append(alerts, newAPIAlert(a))
		}
	}
	return result{data: map[string]any{"alerts": alerts}}, nil
}

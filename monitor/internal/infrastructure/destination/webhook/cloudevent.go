package webhook

import (
	"maps"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// cloudEvent is a CloudEvents 1.0 event in structured JSON.
type cloudEvent struct {
	SpecVersion     string              `json:"specversion"`
	ID              string              `json:"id"`
	Source          string              `json:"source"`
	Type            string              `json:"type"`
	Subject         string              `json:"subject,omitempty"`
	Time            time.Time           `json:"time,omitzero"`
	DataContentType string              `json:"datacontenttype"`
	Data            domain.Notification `json:"data"`
}

func (s *Sender) cloudEvent(n domain.Notification) cloudEvent {
	source := s.cfg.Source
	if source == "" {
		source = n.ExternalURL
	}
	if source == "" {
		source = "tocsin"
	}
	return cloudEvent{
		SpecVersion:     "1.0",
		ID:              n.ID,
		Source:          source,
		Type:            "tocsin.alert." + string(n.Transition.Kind),
		Subject:         n.Transition.Alert,
		Time:            n.Transition.Slot,
		DataContentType: "application/json",
		Data:            n,
	}
}

// complete adds the external labels, to a copy.
func (s *Sender) complete(n domain.Notification) domain.Notification {
	labels := make(map[string]string, len(n.Transition.Labels)+len(s.cfg.ExternalLabels))
	maps.Copy(labels, n.Transition.Labels)
	for name, value := range s.cfg.ExternalLabels {
		if labels[name] == "" {
			labels[name] = value
		}
	}
	n.Transition.Labels = labels
	return n
}

func (f Format) contentType() string {
	if f == Alertmanager {
		return "application/json"
	}
	return "application/cloudevents+json; charset=utf-8"
}

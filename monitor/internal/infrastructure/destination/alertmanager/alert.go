package alertmanager

import (
	"maps"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
)

// postableAlert is the API's schema of the same name.
type postableAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     time.Time         `json:"startsAt,omitzero"`
	EndsAt       time.Time         `json:"endsAt,omitzero"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

func (c *Client) postable(alerts []application.LeasedAlert) []postableAlert {
	out := make([]postableAlert, 0, len(alerts))
	for _, a := range alerts {
		labels := c.labels(a.Labels)
		if c.cfg.Relabel != nil && len(labels) == 0 {
			continue
		}
		p := postableAlert{Labels: labels, Annotations: a.Annotations, StartsAt: a.StartsAt.UTC(), EndsAt: a.EndsAt.UTC()}
		if c.cfg.GeneratorURL != nil {
			p.GeneratorURL = c.cfg.GeneratorURL(labels)
		}
		out = append(out, p)
	}
	return out
}

// labels returns a copy: the alert's map is shared with others.
func (c *Client) labels(own map[string]string) map[string]string {
	labels := make(map[string]string, len(own)+len(c.cfg.ExternalLabels))
	maps.Copy(labels, own)
	for name, value := range c.cfg.ExternalLabels {
		if labels[name] == "" {
			labels[name] = value
		}
	}
	if c.cfg.Relabel != nil {
		labels = maps.Clone(c.cfg.Relabel(labels))
	}
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	return labels
}

package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"

	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

// expander returns a function that expands the templates of a rule for one
// sample, as Prometheus does: an error becomes the text.
func (m *Metrics) expander(ctx context.Context, rule config.Rule, s promql.Sample, slot time.Time) func(string) string {
	m.mu.Lock()
	external := map[string]string{}
	if m.current != nil {
		external = m.current.ExternalLabels()
	}
	m.mu.Unlock()
	data := template.AlertTemplateData(s.Metric.Map(), external, m.cfg.ExternalURL, s)
	const definitions = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}" +
		"{{$externalURL := .ExternalURL}}{{$value := .Value}}"
	return func(text string) string {
		expander := template.NewTemplateExpander(ctx, definitions+text, "__alert_"+rule.Alert, data,
			model.Time(slot.UnixMilli()), m.query, m.externalURL, nil)
		result, err := expander.Expand()
		if err != nil {
			m.cfg.Logger.Warn("a template of a rule failed", "rule", rule.Alert, "error", err)
			return fmt.Sprintf("<error expanding template: %s>", err)
		}
		return result
	}
}

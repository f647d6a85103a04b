package oracle

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"

	"github.com/uow-go/uow/monitor/internal/domain"
)

var errQuery = errors.New("many-to-many matching not allowed")

// prometheus is one of its alerting rules.
type prometheus struct {
	t     testing.TB
	rule  *rules.AlertingRule
	limit int
}

func newPrometheus(t testing.TB, r domain.Rule, annotated bool) *prometheus {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr("up")
	if err != nil {
		t.Fatal(err)
	}
	annotations := labels.EmptyLabels()
	if annotated {
		annotations = labels.FromStrings("summary", "is {{ $value }}")
	}
	return &prometheus{t: t, rule: rules.NewAlertingRule(
		r.Name, expr, r.For, r.KeepFiringFor, labels.EmptyLabels(), annotations,
		labels.EmptyLabels(), "", true, promslog.NewNopLogger(),
	)}
}

// reload replaces the rule by an edited one, as a reload of the rule files does.
func (p *prometheus) reload(r domain.Rule, annotated bool) {
	next := newPrometheus(p.t, r, annotated)
	to, from := groupOf(next.rule), groupOf(p.rule)
	to.CopyState(from)
	p.rule = next.rule
}

func groupOf(all ...rules.Rule) *rules.Group {
	return rules.NewGroup(rules.GroupOptions{Name: "g", File: "f", Interval: interval, Rules: all})
}

// eval evaluates the rule at the slot with this answer to its query.
func (p *prometheus) eval(slot time.Time, vector promql.Vector, err error) error {
	query := func(context.Context, string, time.Time) (promql.Vector, error) { return vector, err }
	_, err = p.rule.Eval(p.t.Context(), 0, slot, query, nil, p.limit)
	return err
}

// alerts are all that Prometheus has, by fingerprint.
func (p *prometheus) alerts() map[string]domain.Alert {
	all := map[string]domain.Alert{}
	p.rule.ForEachActiveAlert(func(a *rules.Alert) {
		set := a.Labels.Map()
		all[domain.Fingerprint(set)] = domain.Alert{
			Labels: set, Annotations: a.Annotations.Map(), State: domain.State(a.State.String()),
			Value: domain.Decimal(a.Value), ActiveAt: a.ActiveAt, FiredAt: a.FiredAt,
			KeepFiringSince: a.KeepFiringSince, ResolvedAt: a.ResolvedAt,
		}
	})
	return all
}

// vector is what the query answers at the step. The duplicate differs by its
// name only, which an alert does not have.
func (st step) vector() promql.Vector {
	var vector promql.Vector
	for i, v := range st.values {
		if st.present[i] {
			vector = append(vector, promql.Sample{Metric: metric("up", i), F: v})
		}
	}
	if st.duplicate {
		vector = append(vector, promql.Sample{Metric: metric("down", 0), F: 7})
	}
	return vector
}

func metric(name string, i int) labels.Labels {
	return labels.FromStrings(labels.MetricName, name, "instance", instance(i))
}

func (st step) err() error {
	if st.failed {
		return errQuery
	}
	return nil
}

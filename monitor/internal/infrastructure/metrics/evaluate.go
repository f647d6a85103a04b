package metrics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

// ErrDuplicateLabels is a rule's error when two of its results have the same
// labels after the rule's own are set.
var ErrDuplicateLabels = errors.New("the result holds the same labels twice after the rule's labels were set")

// EvaluateGroup evaluates the rules of a group one after the other at a slot, and
// returns a result for each alerting rule, in order. What a recording rule gives
// is stored before the next rule is evaluated. The failure of one rule is in its
// result; the error is for the end of the context only.
func (m *Metrics) EvaluateGroup(ctx context.Context, group config.RuleGroup, slot time.Time) ([]domain.Result, error) {
	start, at := time.Now(), slot.Add(-group.QueryOffset)
	// Targets may go down and come back while the rules are evaluated: who was
	// down before or after counts.
	downBefore, _, errBefore := m.down(ctx, at)
	var results []domain.Result
	var rules []config.Rule
	for _, rule := range group.Rules {
		var err error
		if rule.Record != "" {
			err = m.record(ctx, group, rule, at)
			m.recorded.done(ruleWriter(group, rule), err == nil)
		} else {
			samples, alertErr := m.alerts(ctx, rule, slot, at)
			results = append(results, domain.Result{Samples: samples, Err: alertErr})
			rules = append(rules, rule)
			err = alertErr
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("metrics: evaluate %s: %w", group.ID(), context.Cause(ctx))
		}
		m.count(group, rule, err)
	}
	downAfter, all, errAfter := m.down(ctx, at)
	sources := &sourceState{
		ctx: context.WithoutCancel(ctx), m: m, at: at, down: union(downBefore, downAfter), all: all, unknown: errBefore != nil || errAfter != nil,
	}
	for i := range results {
		results[i].Stale = sources.stale(rules[i])
	}
	m.stats.duration.WithLabelValues(group.ID()).Observe(time.Since(start).Seconds())
	if ctx.Err() != nil {
		return nil, fmt.Errorf("metrics: evaluate %s: %w", group.ID(), context.Cause(ctx))
	}
	return results, nil
}

func (m *Metrics) count(group config.RuleGroup, rule config.Rule, err error) {
	m.stats.evaluations.WithLabelValues(group.ID()).Inc()
	if err != nil {
		m.stats.failures.WithLabelValues(group.ID()).Inc()
		m.cfg.Logger.Warn("the evaluation of a rule failed", "group", group.ID(), "rule", rule.Name(), "error", err)
	}
}

func union(a, b []*expectedTarget) []*expectedTarget {
	seen := map[*expectedTarget]bool{}
	var all []*expectedTarget
	for _, t := range append(append([]*expectedTarget(nil), a...), b...) {
		if !seen[t] {
			seen[t] = true
			all = append(all, t)
		}
	}
	return all
}

// record evaluates a recording rule and stores what it gives.
func (m *Metrics) record(ctx context.Context, group config.RuleGroup, rule config.Rule, at time.Time) error {
	vector, err := m.query(ctx, rule.Expr, at)
	if err != nil {
		return fmt.Errorf("metrics: rule %s: %w", rule.Record, err)
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	for i := range vector {
		b.Reset(vector[i].Metric)
		b.Set(labels.MetricName, rule.Record)
		for name, value := range rule.Labels {
			b.Set(name, value)
		}
		vector[i].Metric = b.Labels()
	}
	if vector.ContainsSameLabelset() {
		return fmt.Errorf("metrics: rule %s: %w", rule.Record, ErrDuplicateLabels)
	}
	if group.Limit > 0 && len(vector) > group.Limit {
		return fmt.Errorf("metrics: rule %s: %d series, the limit is %d", rule.Record, len(vector), group.Limit)
	}
	if err := m.write(ctx, ruleWriter(group, rule), at, vector); err != nil {
		return fmt.Errorf("metrics: rule %s: store the result: %w", rule.Record, err)
	}
	return nil
}

// alerts evaluates an alerting rule and expands the labels and annotations.
func (m *Metrics) alerts(ctx context.Context, rule config.Rule, slot, at time.Time) ([]domain.Sample, error) {
	vector, err := m.query(ctx, rule.Expr, at)
	if err != nil {
		return nil, fmt.Errorf("metrics: rule %s: %w", rule.Alert, err)
	}
	samples := make([]domain.Sample, 0, len(vector))
	seen := map[uint64]bool{}
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, s := range vector {
		expand := m.expander(ctx, rule, s, slot)
		b.Reset(s.Metric)
		b.Del(labels.MetricName)
		for name, text := range rule.Labels {
			b.Set(name, expand(text))
		}
		b.Set(labels.AlertName, rule.Alert)
		annotations := make(map[string]string, len(rule.Annotations))
		for name, text := range rule.Annotations {
			annotations[name] = expand(text)
		}
		lset := b.Labels()
		hash := lset.Hash()
		if seen[hash] {
			return nil, fmt.Errorf("metrics: rule %s: %w", rule.Alert, ErrDuplicateLabels)
		}
		seen[hash] = true
		samples = append(samples, domain.Sample{Labels: lset.Map(), Annotations: annotations, Value: s.F})
	}
	return samples, nil
}

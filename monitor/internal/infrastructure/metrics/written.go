package metrics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

// alertsWriter is the writer of the ALERTS series of a group.
const alertsWriter = ""

// writer names what writes series: a recording rule, or the alerts of a group.
type writer struct {
	group string
	rule  string
}

// series are label sets by their encoding.
type series map[string]labels.Labels

// writtenSeries remembers what was written last, so that a series can be ended
// when it is written no more.
type writtenSeries struct {
	mu      sync.Mutex
	by      map[writer]series
	orphans []orphan
	// intervals are of the groups of the last apply.
	intervals map[string]time.Duration
}

// orphan is a series whose writer is gone from the configuration. It is ended
// after two intervals, unless another writer has taken it over.
type orphan struct {
	labels labels.Labels
	due    time.Time
}

func newWrittenSeries() *writtenSeries { return &writtenSeries{by: map[writer]series{}} }

// ruleWriter names a recording rule by its content, so that rules may be moved
// within their group.
func ruleWriter(group config.RuleGroup, rule config.Rule) writer {
	return writer{group.ID(), rule.Record + labels.FromMap(rule.Labels).String() + rule.Expr}
}

func (w *writtenSeries) apply(groups []config.RuleGroup, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	writers, intervals := map[writer]bool{}, map[string]time.Duration{}
	for _, g := range groups {
		intervals[g.ID()] = g.Interval
		writers[writer{g.ID(), alertsWriter}] = true
		for _, r := range g.Rules {
			if r.Record != "" {
				writers[ruleWriter(g, r)] = true
			}
		}
	}
	for by, written := range w.by {
		if writers[by] {
			continue
		}
		for _, lset := range written {
			w.orphans = append(w.orphans, orphan{lset, now.Add(2 * w.intervals[by.group])})
		}
		delete(w.by, by)
	}
	w.intervals = intervals
}

// swap remembers what a writer has written and returns what it no longer writes.
func (w *writtenSeries) swap(by writer, now series) []labels.Labels {
	w.mu.Lock()
	defer w.mu.Unlock()
	var gone []labels.Labels
	for key, lset := range w.by[by] {
		if _, ok := now[key]; !ok {
			gone = append(gone, lset)
		}
	}
	w.by[by] = now
	return gone
}

// dueOrphans takes out the orphans that are to be ended.
func (w *writtenSeries) dueOrphans(now time.Time) []labels.Labels {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []labels.Labels
	var left []orphan
	for _, o := range w.orphans {
		switch {
		case now.Before(o.due):
			left = append(left, o)
		case !w.writes(o.labels):
			due = append(due, o.labels)
		}
	}
	w.orphans = left
	return due
}

func (w *writtenSeries) writes(lset labels.Labels) bool {
	key := lset.Bytes(nil)
	for _, written := range w.by {
		if _, ok := written[string(key)]; ok {
			return true
		}
	}
	return false
}

// write commits samples at a time and ends the series that the writer wrote the
// last time and does not write now. A sample that comes too late for the store is
// left out: that happens only to slots that are evaluated late.
func (m *Metrics) write(ctx context.Context, by writer, at time.Time, samples promql.Vector) error {
	app := m.db.AppenderV2(ctx)
	now := make(series, len(samples))
	for _, s := range samples {
		if err := m.append(app, at, s); err != nil {
			_ = app.Rollback()
			return err
		}
		now[string(s.Metric.Bytes(nil))] = s.Metric
	}
	gone := append(m.written.swap(by, now), m.written.dueOrphans(at)...)
	for _, lset := range gone {
		marker := promql.Sample{Metric: lset, F: math.Float64frombits(value.StaleNaN)}
		if err := m.append(app, at, marker); err != nil {
			_ = app.Rollback()
			return err
		}
	}
	return app.Commit()
}

func (m *Metrics) append(app storage.AppenderV2, at time.Time, s promql.Sample) error {
	_, err := app.Append(0, s.Metric, 0, at.UnixMilli(), s.F, nil, s.H, storage.AOptions{RejectOutOfOrder: true})
	switch {
	case errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrTooOldSample),
		errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		m.cfg.Logger.Debug("a sample of a rule came too late", "series", s.Metric.String(), "at", at, "error", err)
		return nil
	default:
		return err
	}
}

// WriteAlerts writes the ALERTS and ALERTS_FOR_STATE series of a group, as
// Prometheus does: for every alert that is pending or firing, and ends those of
// the alerts that were so at the last call and are no longer. Call it after the
// slot is committed, with all alerts of the group; with none when it has none.
func (m *Metrics) WriteAlerts(ctx context.Context, group config.RuleGroup, slot time.Time, alerts []domain.Alert) error {
	var samples promql.Vector
	for _, a := range alerts {
		if a.State != domain.Pending && a.State != domain.Firing {
			continue
		}
		b := labels.NewBuilder(labels.FromMap(a.Labels))
		b.Set(labels.MetricName, "ALERTS_FOR_STATE").Set(labels.AlertName, a.Name)
		samples = append(samples, promql.Sample{Metric: b.Labels(), F: float64(a.ActiveAt.Unix())})
		b.Set(labels.MetricName, "ALERTS").Set("alertstate", string(a.State))
		samples = append(samples, promql.Sample{Metric: b.Labels(), F: 1})
	}
	at := slot.Add(-group.QueryOffset)
	if err := m.write(ctx, writer{group.ID(), alertsWriter}, at, samples); err != nil {
		return fmt.Errorf("metrics: write the alerts of %s: %w", group.ID(), err)
	}
	return nil
}

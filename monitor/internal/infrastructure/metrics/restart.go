package metrics

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// endOldSeries appends a staleness marker to every series that the last process
// left alive, so that its samples do not count as present. The marker stands
// where the last process was last seen at work, not at the start of this one:
// then a slot within the outage that is evaluated late sees no samples either,
// and one from before the outage sees all of its own.
func (m *Metrics) endOldSeries(ctx context.Context, now time.Time) error {
	lastSeen, err := m.lastScrape(ctx, now)
	if err != nil {
		return fmt.Errorf("metrics: end the series of the last process: %w", err)
	}
	app := m.db.AppenderV2(ctx)
	lookback := m.cfg.Lookback.Milliseconds()
	ended := 0
	err = m.eachSeries(ctx, lastSeen-lookback, labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".+"),
		func(s storage.Series) error {
			last := lastSample(s)
			if last.stale || last.kind == chunkenc.ValNone {
				return nil
			}
			ended++
			return last.appendMarker(app, s.Labels(), max(last.t, lastSeen)+1)
		})
	if err != nil {
		_ = app.Rollback()
		return fmt.Errorf("metrics: end the series of the last process: %w", err)
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("metrics: end the series of the last process: %w", err)
	}
	if ended > 0 {
		m.cfg.Logger.Info("ended the series that the last process left", "series", ended,
			"at", time.UnixMilli(lastSeen).UTC())
	}
	return nil
}

// lastScrape returns the time of the newest report of a scrape, in
// milliseconds, or now when there is none. Other samples do not tell, since
// targets may give them a time of their own, also one in the future.
func (m *Metrics) lastScrape(ctx context.Context, now time.Time) (int64, error) {
	last := int64(math.MinInt64)
	since := now.Add(-m.cfg.Retention).UnixMilli()
	if head := m.db.Head(); head.NumSeries() > 0 {
		since = max(since, head.MinTime())
	}
	err := m.eachSeries(ctx, since, labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "up"),
		func(s storage.Series) error {
			last = max(last, lastSample(s).t)
			return nil
		})
	if last == math.MinInt64 {
		last = now.UnixMilli()
	}
	return min(last, now.UnixMilli()), err
}

// eachSeries visits every series with samples since a time, without an upper
// bound: the clock may have been set back.
func (m *Metrics) eachSeries(ctx context.Context, since int64, by *labels.Matcher, visit func(storage.Series) error) error {
	querier, err := m.db.Querier(since, math.MaxInt64)
	if err != nil {
		return err
	}
	defer querier.Close()
	set := querier.Select(ctx, false, nil, by)
	for set.Next() {
		if err := visit(set.At()); err != nil {
			return err
		}
	}
	return set.Err()
}

// last is the last sample of a series.
type last struct {
	t     int64
	kind  chunkenc.ValueType
	stale bool
}

func lastSample(s storage.Series) last {
	l := last{t: math.MinInt64}
	it := s.Iterator(nil)
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		l.kind = kind
		switch kind {
		case chunkenc.ValFloat:
			t, v := it.At()
			l.t, l.stale = t, value.IsStaleNaN(v)
		case chunkenc.ValHistogram, chunkenc.ValFloatHistogram:
			t, h := it.AtFloatHistogram(nil)
			l.t, l.stale = t, value.IsStaleNaN(h.Sum)
		}
	}
	return l
}

// appendMarker writes the marker in the kind of the series' own samples.
func (l last) appendMarker(app storage.AppenderV2, series labels.Labels, at int64) error {
	stale := math.Float64frombits(value.StaleNaN)
	var h *histogram.Histogram
	var fh *histogram.FloatHistogram
	switch l.kind {
	case chunkenc.ValHistogram:
		h = &histogram.Histogram{Sum: stale}
	case chunkenc.ValFloatHistogram:
		fh = &histogram.FloatHistogram{Sum: stale}
	}
	_, err := app.Append(0, series, 0, at, stale, h, fh, storage.AOptions{})
	return err
}

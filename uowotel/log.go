package uowotel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/uow-go/uow/outbox"
)

// logGauges are the metrics of an outbox.
type logGauges struct {
	lag                            metric.Float64ObservableGauge
	backlog, held, messages, epoch metric.Int64ObservableGauge
}

// WatchLog reports an outbox, by Log.Stats, whenever metrics are collected, until
// stop is called. One process that does so is enough, though each may. It works
// without any relay, which is what an alert on the lag is for.
func (t *Telemetry) WatchLog(log outbox.Log) (stop func() error, err error) {
	g, err := t.logGauges()
	if err != nil {
		return nil, fmt.Errorf("uowotel: %w", err)
	}
	watching, err := t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		stats, err := log.Stats(ctx)
		if err != nil {
			return fmt.Errorf("uowotel: stats of the outbox: %w", err)
		}
		g.observe(o, stats, time.Now())
		return nil
	}, g.lag, g.backlog, g.held, g.messages, g.epoch)
	if err != nil {
		return nil, fmt.Errorf("uowotel: %w", err)
	}
	return watching.Unregister, nil
}

func (t *Telemetry) logGauges() (g logGauges, err error) {
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		i, failed := t.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		err = errors.Join(err, failed)
		return i
	}
	g.backlog = gauge("uow.outbox.backlog", "{message}", "Messages that wait for a relay or are held, at most.")
	g.held = gauge("uow.outbox.held", "{message}", "Held messages.")
	g.messages = gauge("uow.outbox.messages", "{message}", "Messages in the log, delivered ones that are kept included.")
	g.epoch = gauge("uow.relay.epoch", "{takeover}", "How often a relay has taken the cursor.")
	lag, failed := t.meter.Float64ObservableGauge("uow.outbox.lag", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest message that waits for a relay or is held."))
	g.lag = lag
	return g, errors.Join(err, failed)
}

func (g logGauges) observe(o metric.Observer, stats outbox.Stats, now time.Time) {
	o.ObserveInt64(g.messages, stats.Messages)
	for _, c := range stats.Cursors {
		cursor := metric.WithAttributes(ofCursor(c.Cursor))
		lag := time.Duration(0)
		if !c.OldestAt.IsZero() {
			lag = max(now.Sub(c.OldestAt), 0)
		}
		o.ObserveFloat64(g.lag, lag.Seconds(), cursor)
		o.ObserveInt64(g.backlog, max(stats.End-c.Position, 0)+c.Retrying+c.Waiting+c.Parked, cursor)
		o.ObserveInt64(g.epoch, c.Epoch, cursor)
		for _, held := range []struct {
			state outbox.HoldState
			n     int64
		}{{outbox.Retrying, c.Retrying}, {outbox.Waiting, c.Waiting}, {outbox.Parked, c.Parked}} {
			o.ObserveInt64(g.held, held.n, cursor, metric.WithAttributes(attribute.String("uow.hold.state", string(held.state))))
		}
	}
}

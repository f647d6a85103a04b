package uowotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/uow-go/uow/inbox"
)

// Inbox returns what Config.Observer of any number of inboxes reports to.
func (t *Telemetry) Inbox() inbox.Observer { return inboxObserver{t.inboxes} }

type inboxObserver struct{ inboxInstruments }

// Handled implements inbox.Observer.
func (o inboxObserver) Handled(ctx context.Context, d inbox.Delivery) {
	consumer, outcome := attribute.String("uow.consumer", d.Consumer), d.Outcome()
	o.duration.Record(ctx, d.Duration.Seconds(), metric.WithAttributes(consumer, attribute.String("uow.inbox.outcome", outcome)))
	if outcome != "handled" {
		return
	}
	if !d.Message.Time.IsZero() {
		o.lag.Record(ctx, max(time.Since(d.Message.Time), 0).Seconds(), metric.WithAttributes(consumer))
	}
	if gap := d.Receipt.Gap; gap.From > 0 {
		o.missing.Add(ctx, gap.To-gap.From+1, metric.WithAttributes(consumer))
	}
}

package uowotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/inbox"
)

// Consumer returns what Config.Observer of a broker's consumer reports to. name is that
// of its inbox, where it has one, so that both have the same uow.consumer.
func (t *Telemetry) Consumer(name string) consumer.Observer {
	return &consumerObserver{consumerInstruments: t.consumers, consumer: metric.WithAttributes(attribute.String("uow.consumer", name))}
}

type consumerObserver struct {
	consumerInstruments
	consumer metric.MeasurementOption
}

// Handled implements consumer.Observer.
func (o *consumerObserver) Handled(m consumer.Message, took time.Duration) {
	ctx := context.Background()
	o.came(ctx, "handled", nil)
	o.process.Record(ctx, took.Seconds(), o.consumer)
	if !m.CreatedAt.IsZero() {
		o.lag.Record(ctx, max(time.Since(m.CreatedAt), 0).Seconds(), o.consumer)
	}
}

// Failed implements consumer.Observer.
func (o *consumerObserver) Failed(_ consumer.Message, err error) {
	o.came(context.Background(), "failed", err)
}

// Refused implements consumer.Observer.
func (o *consumerObserver) Refused(_ consumer.Message, reason error, kept bool) {
	outcome := "refused"
	if kept {
		outcome = "kept"
	}
	o.came(context.Background(), outcome, reason)
}

// came counts what came of an attempt.
func (o *consumerObserver) came(ctx context.Context, outcome string, err error) {
	attributes := []attribute.KeyValue{attribute.String("uow.delivery.outcome", outcome)}
	if err != nil {
		attributes = append(attributes, handlerError(err))
	}
	o.attempts.Add(ctx, 1, o.consumer, metric.WithAttributes(attributes...))
}

// handlerError classifies what a handler returned, or why none was called.
func handlerError(err error) attribute.KeyValue {
	ofInbox := inbox.Delivery{Err: err}.Outcome()
	switch {
	case errors.Is(err, consumer.ErrMalformed):
		return semconv.ErrorTypeKey.String("malformed")
	case ofInbox != "failed":
		return semconv.ErrorTypeKey.String(ofInbox)
	case errors.Is(err, context.DeadlineExceeded):
		return semconv.ErrorTypeKey.String("timeout")
	case errors.Is(err, context.Canceled):
		return semconv.ErrorTypeKey.String("canceled")
	}
	return semconv.ErrorTypeOther
}

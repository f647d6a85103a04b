package uowotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

func ofCursor(name string) attribute.KeyValue { return attribute.String("uow.cursor", name) }

// Relay returns what a relay's Config.Observer reports to. cursor is the relay's.
func (t *Telemetry) Relay(cursor string) relay.Observer {
	return &relayObserver{relayInstruments: t.relays, cursor: metric.WithAttributes(ofCursor(cursor))}
}

type relayObserver struct {
	relayInstruments
	cursor metric.MeasurementOption
}

// Delivered implements relay.Observer.
func (o *relayObserver) Delivered(_ outbox.Message, lag time.Duration) {
	ctx := context.Background()
	o.published.Add(ctx, 1, o.cursor)
	o.lag.Record(ctx, max(lag, 0).Seconds(), o.cursor)
}

// Failed implements relay.Observer.
func (o *relayObserver) Failed(_ outbox.Message, _ int, r relay.Result) {
	o.failures.Add(context.Background(), 1, o.cursor,
		metric.WithAttributes(attribute.String("uow.relay.outcome", r.Outcome.String())))
}

// Parked implements relay.Observer.
func (o *relayObserver) Parked(outbox.Message, string) {
	o.parked.Add(context.Background(), 1, o.cursor)
}

// Disordered implements relay.Observer.
func (o *relayObserver) Disordered(d relay.Disorder) {
	kind := "gap"
	if d.Late() {
		kind = "late"
	}
	o.disorders.Add(context.Background(), 1, o.cursor, metric.WithAttributes(attribute.String("uow.relay.disorder", kind)))
}

// Publisher returns a Publisher that reports the batches of p. cursor is the
// relay's.
func (t *Telemetry) Publisher(cursor string, p relay.Publisher) relay.Publisher {
	return &publisher{Telemetry: t, next: p, cursor: cursor}
}

type publisher struct {
	*Telemetry
	next   relay.Publisher
	cursor string
}

// Publish implements relay.Publisher.
func (p *publisher) Publish(ctx context.Context, batch []outbox.Message) []relay.Result {
	began := time.Now()
	ctx, span := p.tracer.Start(ctx, "uow publish "+p.cursor, trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithLinks(p.links(ctx, batch)...),
		trace.WithAttributes(ofCursor(p.cursor), semconv.MessagingBatchMessageCount(len(batch))))
	defer span.End()
	defer func() { // also when the publisher panics
		p.relays.publish.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(ofCursor(p.cursor)))
	}()
	results := p.next.Publish(ctx, batch)
	if span.IsRecording() {
		judge(span, results)
	}
	return results
}

// judge gives a span the counts of the outcomes and the first error.
func judge(span trace.Span, results []relay.Result) {
	counts := map[relay.Outcome]int{}
	for _, r := range results {
		if !r.Outcome.Delivered() && r.Err != nil && counts[r.Outcome] == 0 {
			span.RecordError(r.Err)
		}
		counts[r.Outcome]++
	}
	failed := len(results)
	for o, n := range counts {
		span.SetAttributes(attribute.Int("uow.publish."+key(o), n))
		if o.Delivered() {
			failed -= n
		}
	}
	if failed > 0 {
		span.SetStatus(codes.Error, "not all messages were published")
	}
}

func key(o relay.Outcome) string {
	if o == relay.NotTried {
		return "not_tried"
	}
	return o.String()
}

// maxLinks is how many links the SDK keeps by default.
const maxLinks = 128

// links returns one for each unit whose messages carry its span's context.
func (t *Telemetry) links(ctx context.Context, batch []outbox.Message) []trace.Link {
	if t.propagator == nil {
		return nil
	}
	var links []trace.Link
	seen := map[trace.SpanID]bool{}
	for _, m := range batch {
		at := trace.SpanContextFromContext(t.propagator.Extract(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), propagation.MapCarrier(m.Headers)))
		if !at.IsValid() || seen[at.SpanID()] || len(links) == maxLinks {
			continue
		}
		seen[at.SpanID()] = true
		links = append(links, trace.Link{SpanContext: at})
	}
	return links
}

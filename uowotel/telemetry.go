package uowotel

import (
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"
)

// Config says where telemetry goes. Its zero value uses OpenTelemetry's globals and
// leaves messages alone.
type Config struct {
	// TracerProvider gets the spans. Default: otel.GetTracerProvider().
	TracerProvider trace.TracerProvider
	// MeterProvider gets the metrics. Default: otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
	// Propagator, when set, puts the context of a unit's span into the headers of
	// its messages, and reads it there for the links of Publisher's spans.
	// propagation.TraceContext{} makes the W3C header traceparent. Default: none.
	Propagator propagation.TextMapPropagator
	// System is the database's db.system.name by the semantic conventions, such as
	// postgresql, mysql, mariadb or sqlite. Default: not reported.
	System string
}

// Telemetry reports to OpenTelemetry. It is a uow.Observer for any number of DBs of
// one System, and makes what relays, inboxes and consumers need.
type Telemetry struct {
	tracer     trace.Tracer
	meter      metric.Meter
	propagator propagation.TextMapPropagator
	common     []attribute.KeyValue
	units      unitInstruments
	relays     relayInstruments
	inboxes    inboxInstruments
	consumers  consumerInstruments
}

const scope = "github.com/uow-go/uow/uowotel"

// New returns a Telemetry. It fails when the MeterProvider refuses an instrument.
func New(cfg Config) (*Telemetry, error) {
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	t := &Telemetry{
		tracer:     cfg.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		meter:      cfg.MeterProvider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)),
		propagator: cfg.Propagator,
	}
	if cfg.System != "" {
		t.common = append(t.common, semconv.DBSystemNameKey.String(cfg.System))
	}
	i := &instruments{meter: t.meter}
	t.units, t.relays, t.inboxes, t.consumers = i.ofUnits(), i.ofRelays(), i.ofInboxes(), i.ofConsumers()
	if i.err != nil {
		return nil, fmt.Errorf("uowotel: %w", i.err)
	}
	return t, nil
}

// attributes returns those that are common to all, and more.
func (t *Telemetry) attributes(more ...attribute.KeyValue) []attribute.KeyValue {
	return append(t.common[:len(t.common):len(t.common)], more...)
}

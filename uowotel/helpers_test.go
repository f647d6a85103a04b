package uowotel_test

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/sqlite"
	"github.com/uow-go/uow/uowotel"
)

var errBoom = errors.New("boom")

// account is an aggregate.
type account struct {
	uow.Events
	ID      string
	Balance int
}

type deposited struct{ Amount int }

func (a *account) deposit(n int) {
	a.Balance += n
	a.Record(deposited{n})
}

// bench is a database that is watched, and what was seen.
type bench struct {
	*testing.T
	*uowotel.Telemetry
	db       *uow.DB
	accounts *uow.Collection[account]
	spans    *tracetest.InMemoryExporter
	tracer   trace.Tracer
	metrics  *metric.ManualReader
}

// eachStore runs a test on the stores that need no server.
func eachStore(t *testing.T, cfg uow.Config, test func(b *bench)) {
	t.Run("memory", func(t *testing.T) {
		test(newBench(t, "memory", cfg, func(cfg uow.Config) (*uow.DB, error) { return memory.Open(t.Context(), cfg) }))
	})
	t.Run("sqlite", func(t *testing.T) {
		test(newBench(t, "sqlite", cfg, func(cfg uow.Config) (*uow.DB, error) {
			return sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "bank.db"), cfg)
		}))
	})
}

func newBench(t *testing.T, system string, cfg uow.Config, open func(uow.Config) (*uow.DB, error)) *bench {
	t.Helper()
	b := &bench{T: t, accounts: uow.NewCollection[account]("accounts"),
		spans: tracetest.NewInMemoryExporter(), metrics: metric.NewManualReader()}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(b.spans))
	b.tracer = provider.Tracer("test")
	var err error
	b.Telemetry, err = uowotel.New(uowotel.Config{
		TracerProvider: provider,
		MeterProvider:  metric.NewMeterProvider(metric.WithReader(b.metrics)),
		Propagator:     propagation.TraceContext{},
		System:         system,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Observers = []uow.Observer{b.Telemetry}
	cfg.Collections = []uow.AnyCollection{b.accounts}
	if b.db, err = open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.db.Close() })
	return b
}

func (b *bench) do(fn func(ctx context.Context, u *uow.Unit, accounts *uow.Repository[account]) error) {
	b.Helper()
	if err := b.try(b.Context(), fn); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) try(ctx context.Context, fn func(ctx context.Context, u *uow.Unit, accounts *uow.Repository[account]) error) error {
	return b.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error { return fn(ctx, u, b.accounts.In(u)) })
}

func (b *bench) log() outbox.Log {
	b.Helper()
	log, err := outbox.Of(b.db)
	if err != nil {
		b.Fatal(err)
	}
	return log
}

// ended returns the ended spans with a name.
func (b *bench) ended(name string) (found tracetest.SpanStubs) {
	for _, s := range b.spans.GetSpans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// span returns the only one with a name.
func (b *bench) span(name string) tracetest.SpanStub {
	b.Helper()
	found := b.ended(name)
	if len(found) != 1 {
		b.Fatalf("%d spans are called %q, want 1; all: %v", len(found), name, b.spans.GetSpans())
	}
	return found[0]
}

// values returns the values of a metric by its attributes, written as "k=v k=v"
// without those of the database: sums and gauges as they are, of histograms the
// counts.
func (b *bench) values(name string) map[string]float64 {
	b.Helper()
	var all metricdata.ResourceMetrics
	if err := b.metrics.Collect(context.Background(), &all); err != nil {
		b.Fatal(err)
	}
	out := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name == name {
				collect(out, m.Data)
			}
		}
	}
	return out
}

func collect(out map[string]float64, data metricdata.Aggregation) {
	switch data := data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			out[labels(p.Attributes)] = float64(p.Value)
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			out[labels(p.Attributes)] = float64(p.Value)
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			out[labels(p.Attributes)] = p.Value
		}
	case metricdata.Histogram[int64]:
		for _, p := range data.DataPoints {
			out[labels(p.Attributes)] = float64(p.Count)
			out["sum "+labels(p.Attributes)] = float64(p.Sum)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			out[labels(p.Attributes)] = float64(p.Count)
		}
	}
}

func labels(set attribute.Set) string {
	var all []string
	for _, kv := range set.ToSlice() {
		if kv.Key != "db.system.name" {
			all = append(all, string(kv.Key)+"="+kv.Value.String())
		}
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

// wantValues demands a metric's values.
func (b *bench) wantValues(name string, want map[string]float64) {
	b.Helper()
	got := b.values(name)
	for labels, value := range want {
		if got[labels] != value {
			b.Errorf("%s{%s} is %v, want %v; all: %v", name, labels, got[labels], value, got)
		}
	}
}

// wantAll demands all of a metric's values.
func (b *bench) wantAll(name string, want map[string]float64) {
	b.Helper()
	if got := b.values(name); !maps.Equal(got, want) {
		b.Errorf("%s is %v, want %v", name, got, want)
	}
}

// sum is what a histogram of a consumer has added up.
func (b *bench) sum(name, consumer string) float64 {
	b.Helper()
	var all metricdata.ResourceMetrics
	if err := b.metrics.Collect(context.Background(), &all); err != nil {
		b.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			data, ok := m.Data.(metricdata.Histogram[float64])
			for _, p := range data.DataPoints {
				if ok && m.Name == name && labels(p.Attributes) == "uow.consumer="+consumer {
					return p.Sum
				}
			}
		}
	}
	return 0
}

// attribute returns the value of one as text, "" when it is missing.
func attributeOf(all []attribute.KeyValue, key string) string {
	for _, kv := range all {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

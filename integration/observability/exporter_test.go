package observability

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/sqlite"
	"github.com/uow-go/uow/uowotel"
)

var errBoom = errors.New("boom")

type account struct {
	uow.Events
	ID      string
	Balance int
}

// exposed runs units and a relay that do everything that is reported, and returns
// the metrics that Prometheus would see, each with its labels.
func exposed(t *testing.T) map[string]map[string]bool {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	if err != nil {
		t.Fatal(err)
	}
	telemetry, err := uowotel.New(uowotel.Config{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)), System: "sqlite",
	})
	if err != nil {
		t.Fatal(err)
	}
	runUnits(t, telemetry)
	runDoubt(t, telemetry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]bool{}
	for _, f := range families {
		labels := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		names := []string{f.GetName()}
		if f.GetMetric()[0].GetHistogram() != nil {
			names = []string{f.GetName() + "_bucket", f.GetName() + "_sum", f.GetName() + "_count"}
			labels["le"] = true
		}
		for _, name := range names {
			out[name] = labels
		}
	}
	return out
}

func runUnits(t *testing.T, telemetry *uowotel.Telemetry) {
	t.Helper()
	accounts, records := uow.NewCollection[account]("accounts"), inbox.NewRecords()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "bank.db"), uow.Config{
		Collections: append(records.Collections(), accounts),
		Observers:   []uow.Observer{telemetry},
		OnHookError: func(context.Context, *uow.HookError) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	do := func(want error, fn func(ctx context.Context, u *uow.Unit) error) {
		t.Helper()
		if err := named(db).Do(t.Context(), fn); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	add := func(_ context.Context, u *uow.Unit) error {
		a := &account{ID: "alice"}
		a.Record(opened{})
		return errors.Join(accounts.In(u).Add(a), u.Append(uow.Message{Type: "t", Key: "k", Payload: []byte("{}")}),
			u.AfterCommit(func(context.Context) error { return errBoom }))
	}
	do(nil, add)
	do(uow.ErrConflict, add)
	do(errBoom, func(ctx context.Context, u *uow.Unit) error {
		return u.Nested(ctx, func(context.Context, *uow.Unit) error { return errBoom })
	})
	for _, n := range []int64{1, 3} { // somebody has deleted the second
		do(nil, func(_ context.Context, u *uow.Unit) error {
			return u.Append(uow.Message{Type: "t", Topic: "accounts", Key: "accounts/bob", AggregateType: "accounts", AggregateID: "bob", Sequence: n})
		})
	}
	runInbox(t, db, records, telemetry)
	runConsumer(t, telemetry)
	runRelay(t, db, telemetry)
}

// runInbox handles a message that is not the first of its stream.
func runInbox(t *testing.T, db *uow.DB, records *inbox.Records, telemetry *uowotel.Telemetry) {
	t.Helper()
	in, err := inbox.New(db, records, inbox.Config{Consumer: "mailer", Order: inbox.ReportDisorder, FromFirst: true, Observer: telemetry.Inbox()})
	if err == nil {
		_, err = in.Handle(t.Context(), inbox.Message{ID: "m", Stream: "s", Sequence: 2, Time: time.Now()},
			func(context.Context, *uow.Unit) error { return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// runConsumer handles a message, and refuses what is none.
func runConsumer(t *testing.T, telemetry *uowotel.Telemetry) {
	t.Helper()
	cfg, err := consumer.Config{
		Handle:   func(context.Context, consumer.Message) error { return nil },
		Observer: telemetry.Consumer("mailer"), Logger: slog.New(slog.DiscardHandler),
	}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := &twoDeliveries{settled: make(chan struct{}, 2)}
	done := make(chan error)
	go func() { done <- consumer.NewRunner(cfg, s, 0).Run(ctx) }()
	<-s.settled
	<-s.settled
	cancel() // Run ends when both have been reported
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// twoDeliveries is a broker that has a message, and one that is malformed.
type twoDeliveries struct {
	consumer.Source
	given   bool
	settled chan struct{}
}

func (s *twoDeliveries) Receive(ctx context.Context, _ int) ([]*consumer.Delivery, error) {
	if s.given {
		<-ctx.Done()
		return nil, nil
	}
	s.given = true
	message := consumer.Message{Message: outbox.Message{ID: "m", CreatedAt: time.Now()}}
	return []*consumer.Delivery{{Message: message}, {Malformed: consumer.ErrMalformed}}, nil
}

func (s *twoDeliveries) Ack(context.Context, *consumer.Delivery) error {
	s.settled <- struct{}{}
	return nil
}

func (s *twoDeliveries) Refuse(context.Context, *consumer.Delivery, error) error {
	s.settled <- struct{}{}
	return nil
}

func (s *twoDeliveries) Return(context.Context, []*consumer.Delivery) error { return nil }

func named(db *uow.DB) *uow.DB { return db.With(uow.UnitOptions{Name: "open account"}) }

type opened struct{}

func runRelay(t *testing.T, db *uow.DB, telemetry *uowotel.Telemetry) {
	t.Helper()
	log, err := outbox.Of(db)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := telemetry.WatchLog(log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	publisher := relay.PublisherFunc(func(_ context.Context, batch []outbox.Message) []relay.Result {
		defer cancel()
		results := make([]relay.Result, len(batch))
		for i := range results {
			results[i] = relay.Result{Outcome: relay.Stored}
			if batch[i].Key == "k" {
				results[i] = relay.Result{Outcome: relay.Refused, Err: errBoom}
			}
		}
		return results
	})
	r, err := relay.New(relay.Config{Log: log, Observer: telemetry.Relay("default"), Publisher: telemetry.Publisher("default", publisher)})
	if err == nil {
		err = r.Run(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// runDoubt runs a unit whose commit happens and whose answer is lost.
func runDoubt(t *testing.T, telemetry *uowotel.Telemetry) {
	t.Helper()
	beneath, err := memory.Open(t.Context(), uow.Config{})
	if err != nil {
		t.Fatal(err)
	}
	db, err := uow.Open(t.Context(), lost{beneath.Store()}, uow.Config{Observers: []uow.Observer{telemetry}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := named(db).Do(t.Context(), func(_ context.Context, u *uow.Unit) error { return u.Append(uow.Message{Type: "t"}) }); err != nil {
		t.Fatal(err)
	}
}

type lost struct{ driver.Store }

func (s lost) Begin(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx, opts)
	return lostTx{tx}, err
}

func (lost) Resolve(context.Context, string) (bool, error) { return true, nil }

type lostTx struct{ driver.Tx }

func (t lostTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	return errors.Join(t.Tx.Commit(ctx, cs), fmt.Errorf("connection reset: %w", driver.ErrInDoubt))
}

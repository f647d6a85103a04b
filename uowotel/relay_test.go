package uowotel_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// append commits one unit for each message.
func (b *bench) append(keys ...string) {
	b.Helper()
	for _, key := range keys {
		b.do(func(_ context.Context, u *uow.Unit, _ *uow.Repository[account]) error {
			return u.Append(uow.Message{ID: key, Key: key, Type: "t", Payload: []byte("{}")})
		})
	}
}

func TestRelayIsReported(t *testing.T) {
	eachStore(t, uow.Config{}, func(b *bench) {
		stop, err := b.WatchLog(b.log())
		if err != nil {
			b.Fatal(err)
		}
		b.append("good", "poison", "slow", "fine")
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		tries := 0
		publisher := relay.Each(func(_ context.Context, m outbox.Message) relay.Result {
			switch {
			case m.ID == "poison":
				return relay.Result{Outcome: relay.Refused, Err: errors.New("never")}
			case m.ID == "slow" && tries == 0:
				tries++
				return relay.Result{Outcome: relay.Retry, Err: errors.New("busy")}
			case m.ID == "slow":
				defer cancel()
			}
			return relay.Result{Outcome: relay.Stored}
		}, 1)
		r, err := relay.New(relay.Config{
			Log: b.log(), Observer: b.Relay("main"), Publisher: b.Publisher("main", publisher), Cursor: "main",
			Backoff: relay.Backoff{Min: time.Millisecond, Max: time.Millisecond}, PollInterval: 10 * time.Millisecond,
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Run(ctx); err != nil {
			b.Fatal(err)
		}
		b.append("late")
		b.wantValues("uow.relay.published", map[string]float64{"uow.cursor=main": 3})
		b.wantValues("uow.relay.failures", map[string]float64{
			"uow.cursor=main uow.relay.outcome=refused": 1, "uow.cursor=main uow.relay.outcome=retry": 1})
		b.wantValues("uow.relay.parked", map[string]float64{"uow.cursor=main": 1})
		b.wantValues("uow.relay.delivery.lag", map[string]float64{"uow.cursor=main": 3})
		b.wantValues("uow.relay.publish.duration", map[string]float64{"uow.cursor=main": 2})
		b.wantValues("uow.outbox.held", map[string]float64{
			"uow.cursor=main uow.hold.state=parked": 1, "uow.cursor=main uow.hold.state=retrying": 0})
		b.wantValues("uow.outbox.backlog", map[string]float64{"uow.cursor=main": 2})
		b.wantValues("uow.outbox.messages", map[string]float64{"": 5})
		b.wantValues("uow.relay.epoch", map[string]float64{"uow.cursor=main": 1})
		if lag := b.values("uow.outbox.lag")["uow.cursor=main"]; lag <= 0 {
			b.Errorf("a message waits and the lag is %v", lag)
		}
		b.wantBatchSpans()
		if err := stop(); err != nil {
			b.Fatal(err)
		}
		if got := b.values("uow.outbox.messages"); len(got) > 0 {
			b.Errorf("after stop the outbox is still reported: %v", got)
		}
	})
}

// Of what is disordered there is one gap, and two that are late.
func TestDisorderIsReported(t *testing.T) {
	eachStore(t, uow.Config{}, func(b *bench) {
		for _, n := range []int64{1, 2, 5, 5, 4, 6} {
			b.do(func(_ context.Context, u *uow.Unit, _ *uow.Repository[account]) error {
				return u.Append(uow.Message{
					Type: "t", Topic: "accounts", Key: "accounts/a", AggregateType: "accounts", AggregateID: "a", Sequence: n,
				})
			})
		}
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		r, err := relay.New(relay.Config{
			Log: b.log(), Observer: b.Relay("main"), Cursor: "main", Logger: slog.New(slog.DiscardHandler),
			Publisher: relay.Each(func(_ context.Context, m outbox.Message) relay.Result {
				if m.Sequence == 6 {
					defer cancel()
				}
				return relay.Result{Outcome: relay.Stored}
			}, 1),
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Run(ctx); err != nil {
			b.Fatal(err)
		}
		b.wantValues("uow.relay.disorders", map[string]float64{
			"uow.cursor=main uow.relay.disorder=gap": 1, "uow.cursor=main uow.relay.disorder=late": 2})
	})
}

func (b *bench) wantBatchSpans() {
	b.Helper()
	batches, units := b.ended("uow publish main"), b.ended("uow")
	if len(batches) != 2 || len(batches[0].Links) != 4 || len(batches[1].Links) != 1 {
		b.Fatalf("want the spans of 2 batches, with links to 4 units and to 1; got %+v", batches)
	}
	if got, want := batches[0].Links[0].SpanContext.SpanID(), units[0].SpanContext.SpanID(); got != want {
		b.Errorf("the first link is to %s, want the first unit's %s", got, want)
	}
	if batches[0].Status.Code != codes.Error || batches[1].Status.Code != codes.Unset {
		b.Errorf("the first batch failed in part and the second did not; they have the status %v and %v",
			batches[0].Status, batches[1].Status)
	}
	for key, want := range map[string]string{"uow.publish.stored": "2", "uow.publish.refused": "1", "uow.publish.retry": "1",
		"messaging.batch.message_count": "4", "uow.cursor": "main"} {
		if got := attributeOf(batches[0].Attributes, key); got != want {
			b.Errorf("the first batch has %s=%q, want %q", key, got, want)
		}
	}
}

// brokenLog is a Log that can't be asked.
type brokenLog struct{ outbox.Log }

func (brokenLog) Stats(context.Context) (outbox.Stats, error) { return outbox.Stats{}, errBoom }

func TestBrokenLogLeavesOtherMetrics(t *testing.T) {
	eachStore(t, uow.Config{}, func(b *bench) {
		b.append("a")
		if _, err := b.WatchLog(brokenLog{}); err != nil {
			b.Fatal(err)
		}
		var all metricdata.ResourceMetrics
		if err := b.metrics.Collect(b.Context(), &all); !errors.Is(err, errBoom) || len(all.ScopeMetrics) != 1 {
			b.Errorf("collecting returned %v and %d scopes: want the log's error, and the metrics of units", err, len(all.ScopeMetrics))
		}
	})
}

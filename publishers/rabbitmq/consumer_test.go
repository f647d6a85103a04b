package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/rabbitmq"
	"github.com/uow-go/uow/uowtest"
)

func TestConsumer(t *testing.T) {
	u := brokerURL(t)
	for _, kind := range []string{"quorum", "classic"} {
		t.Run(kind, func(t *testing.T) {
			acks := newAckCounter(t, u.Host)
			uowtest.TestConsumer(t, uowtest.ConsumerHarness{
				Address: acks.address,
				New: func(t testing.TB) uowtest.Queue {
					x := newExchange(t, u, amqp.Table{"x-queue-type": kind})
					dead := newExchange(t, u, amqp.Table{"x-queue-type": kind})
					published, before := 0, int(acks.n.Load())
					var mu sync.Mutex
					var refused []uowtest.DeadLetter
					return uowtest.Queue{
						Publish: func(ctx context.Context, batch []outbox.Message) error {
							p, err := rabbitmq.New(ctx, rabbitmq.Config{URL: u.String(), Exchange: x.name, Source: "/bank"})
							if err != nil {
								return err
							}
							defer p.Close()
							for _, r := range p.Publish(ctx, batch) {
								if !r.Outcome.Delivered() {
									return fmt.Errorf("%v: %w", r.Outcome, r.Err)
								}
							}
							published += len(batch)
							return nil
						},
						Garbage: func(ctx context.Context) error {
							published++
							return x.channel.PublishWithContext(ctx, x.name, "accounts", true, false, amqp.Publishing{
								Headers: amqp.Table{"CC": []any{x.name}, "n": int32(1)}, Body: []byte("no message"),
							})
						},
						Open: func(ctx context.Context, address string, shared bool, cfg consumer.Config) (uowtest.ClosingConsumer, error) {
							return rabbitmq.NewConsumer(ctx, rabbitmq.ConsumerConfig{
								Config: cfg, URL: at(u, address), Queue: x.name, Shared: shared, DeadKey: dead.name,
							})
						},
						Waiting: func(context.Context) (int, error) {
							q, err := x.channel.QueueDeclarePassive(x.name, true, false, false, false, nil)
							return max(published-int(acks.n.Load())+before, q.Messages), err // these are not delivered
						},
						Dead: func(context.Context) ([]uowtest.DeadLetter, error) {
							mu.Lock()
							defer mu.Unlock()
							for {
								d, ok, err := dead.channel.Get(dead.name, true)
								if err != nil || !ok {
									return slices.Clone(refused), err
								}
								refused = append(refused, uowtest.DeadLetter{Message: rabbitmq.Decode(d), Reason: rabbitmq.DeadReason(d)})
							}
						},
					}
				},
			})
		})
	}
}

func TestConsumerIsChecked(t *testing.T) {
	u := brokerURL(t)
	x := newExchange(t, u, amqp.Table{})
	for what, c := range map[string]struct {
		change func(c *rabbitmq.ConsumerConfig)
		ok     bool
		config bool
	}{
		"good":               {func(*rabbitmq.ConsumerConfig) {}, true, false},
		"no handler":         {func(c *rabbitmq.ConsumerConfig) { c.Handle = nil }, false, true},
		"no queue":           {func(c *rabbitmq.ConsumerConfig) { c.Queue = "" }, false, true},
		"no URL":             {func(c *rabbitmq.ConsumerConfig) { c.URL = "amqp://u:topsecret@%zz" }, false, true},
		"a loop":             {func(c *rabbitmq.ConsumerConfig) { c.DeadKey = x.name }, false, true},
		"a huge prefetch":    {func(c *rabbitmq.ConsumerConfig) { c.Prefetch = 1 << 16 }, false, true},
		"a queue not there":  {func(c *rabbitmq.ConsumerConfig) { c.Queue = "uow-test-none" }, false, false},
		"dead not there":     {func(c *rabbitmq.ConsumerConfig) { c.DeadKey = "uow-test-none" }, false, false},
		"exchange not there": {func(c *rabbitmq.ConsumerConfig) { c.DeadExchange = "uow-test-none" }, false, false},
		"nobody listens":     {func(c *rabbitmq.ConsumerConfig) { c.URL = "amqp://u:topsecret@127.0.0.1:1/" }, false, false},
	} {
		cfg := rabbitmq.ConsumerConfig{
			URL: u.String(), Queue: x.name,
			Config: consumer.Config{Handle: func(context.Context, consumer.Message) error { return nil }},
		}
		c.change(&cfg)
		found, err := rabbitmq.NewConsumer(t.Context(), cfg)
		if err == nil {
			_ = found.Close()
		}
		if c.ok != (err == nil) || c.config != errors.Is(err, rabbitmq.ErrConfig) || err != nil && strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: NewConsumer returned %v", what, err)
		}
	}
}

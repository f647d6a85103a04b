package redis_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/redis"
	"github.com/uow-go/uow/uowtest"
)

const claimIdle = time.Second

func TestConsumer(t *testing.T) {
	address := localServer(t)
	uowtest.TestConsumer(t, uowtest.ConsumerHarness{
		Address: address, Redelivery: claimIdle,
		New: func(t testing.TB) uowtest.Queue {
			c := connect(t, address)
			name := newStream(t, c)
			return uowtest.Queue{
				Publish: func(ctx context.Context, batch []outbox.Message) error {
					cfg := config(name, address)
					cfg.Durability = redis.InMemory
					p, err := redis.New(ctx, cfg)
					if err != nil {
						return err
					}
					defer p.Close()
					for _, r := range p.Publish(ctx, batch) {
						if !r.Outcome.Delivered() {
							return fmt.Errorf("%v: %w", r.Outcome, r.Err)
						}
					}
					return nil
				},
				Garbage: func(ctx context.Context) error {
					return c.XAdd(ctx, &client.XAddArgs{Stream: name, Values: map[string]any{"data": "no message"}}).Err()
				},
				Open: func(ctx context.Context, address string, shared bool, cfg consumer.Config) (uowtest.ClosingConsumer, error) {
					return redis.NewConsumer(ctx, redis.ConsumerConfig{
						Config: cfg, Options: client.Options{Addr: address}, Stream: name, Group: "kit",
						Name: rand.Text(), Shared: shared, ClaimIdle: claimIdle, DeadStream: name + "-dead",
					})
				},
				Waiting: func(ctx context.Context) (int, error) { return waiting(ctx, c, name) },
				Dead: func(ctx context.Context) (all []uowtest.DeadLetter, err error) {
					entries, err := c.XRange(ctx, name+"-dead", "-", "+").Result()
					for _, e := range entries {
						all = append(all, uowtest.DeadLetter{Message: redis.Decode(e.Values), Reason: redis.DeadReason(e.Values)})
					}
					return all, err
				},
			}
		},
	})
}

func waiting(ctx context.Context, c *client.Client, stream string) (int, error) {
	groups, err := c.XInfoGroups(ctx, stream).Result()
	if err != nil || len(groups) != 1 {
		return 0, errors.Join(err, fmt.Errorf("there are %d groups", len(groups)))
	}
	rest, err := c.XRange(ctx, stream, "("+groups[0].LastDeliveredID, "+").Result()
	return int(groups[0].Pending) + len(rest), err
}

// What was trimmed before it was handled is told, and not passed over.
func TestTrimmedEntriesAreRefused(t *testing.T) {
	address := localServer(t)
	c := connect(t, address)
	name := newStream(t, c)
	p := open(t, func() redis.Config { cfg := config(name, address); cfg.Durability = redis.InMemory; return cfg }())
	p.Publish(t.Context(), messages("a", 0, 2))
	started := make(chan struct{}, 10)
	cfg := redis.ConsumerConfig{
		Options: client.Options{Addr: address}, Stream: name, Group: "g", DeadStream: name + "-dead",
		Config: consumer.Config{Handle: func(ctx context.Context, _ consumer.Message) error {
			started <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}, DrainTimeout: time.Millisecond, Logger: slog.New(slog.DiscardHandler)},
	}
	run := func(until func()) {
		one, err := redis.NewConsumer(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- one.Run(t.Context()) }()
		until()
		if err := errors.Join(one.Close(), <-done); err != nil {
			t.Error(err)
		}
	}
	run(func() { <-started })
	if err := c.XTrimMaxLen(t.Context(), name, 0).Err(); err != nil {
		t.Fatal(err)
	}
	run(func() {
		for began := time.Now(); ; <-time.After(5 * time.Millisecond) {
			dead, err := c.XRange(t.Context(), name+"-dead", "-", "+").Result()
			if len(dead) == 2 {
				if reason := redis.DeadReason(dead[0].Values); !strings.Contains(reason, "trimmed") {
					t.Errorf("the reason is %q", reason)
				}
				return
			}
			if err != nil || time.Since(began) > time.Minute {
				t.Fatalf("%d entries were refused; %v", len(dead), err)
			}
		}
	})
}

func TestConsumerIsChecked(t *testing.T) {
	address := localServer(t)
	c := connect(t, address)
	name := newStream(t, c)
	if err := c.Set(t.Context(), name+"-text", "no stream", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	for what, row := range map[string]struct {
		change     func(c *redis.ConsumerConfig)
		ok, config bool
	}{
		"good":              {func(*redis.ConsumerConfig) {}, true, false},
		"no handler":        {func(c *redis.ConsumerConfig) { c.Handle = nil }, false, true},
		"no stream":         {func(c *redis.ConsumerConfig) { c.Stream = "" }, false, true},
		"no group":          {func(c *redis.ConsumerConfig) { c.Group = "" }, false, true},
		"shared, no name":   {func(c *redis.ConsumerConfig) { c.Shared = true }, false, true},
		"a short claim":     {func(c *redis.ConsumerConfig) { c.ClaimIdle = time.Millisecond }, false, true},
		"a loop":            {func(c *redis.ConsumerConfig) { c.DeadStream = name }, false, true},
		"dead is no stream": {func(c *redis.ConsumerConfig) { c.DeadStream = name + "-text" }, false, true},
		"no stream at all":  {func(c *redis.ConsumerConfig) { c.Stream = name + "-text" }, false, false},
		"nobody listens":    {func(c *redis.ConsumerConfig) { c.Options.Addr, c.Options.Password = "127.0.0.1:1", "topsecret" }, false, false},
	} {
		cfg := redis.ConsumerConfig{
			Options: client.Options{Addr: address}, Stream: name, Group: "g",
			Config: consumer.Config{Handle: func(context.Context, consumer.Message) error { return nil }},
		}
		row.change(&cfg)
		found, err := redis.NewConsumer(t.Context(), cfg)
		if err == nil {
			_ = found.Close()
		}
		if row.ok != (err == nil) || row.config != errors.Is(err, redis.ErrConfig) || err != nil && strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: NewConsumer returned %v", what, err)
		}
	}
}

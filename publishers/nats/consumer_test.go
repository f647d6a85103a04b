package nats_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/nats"
	"github.com/uow-go/uow/uowtest"
)

const ackWait = 2 * time.Second

// consumerConfig consumes a stream; what is refused goes to the stream dead.
func consumerConfig(stream, dead, address string, cfg consumer.Config) nats.ConsumerConfig {
	return nats.ConsumerConfig{
		Config: cfg, URL: "nats://" + address, Stream: stream, Durable: "kit", AckWait: ackWait, DeadSubject: dead + ".dead",
	}
}

func consumerHarness(address string, js func(t testing.TB) jetstream.JetStream) uowtest.ConsumerHarness {
	return uowtest.ConsumerHarness{
		Address: address, MaxPayload: 1<<20 - 8192, Redelivery: ackWait,
		New: func(t testing.TB) uowtest.Queue {
			js := js(t)
			name, dead := newStream(t, js, nil), newStream(t, js, nil)
			return uowtest.Queue{
				Publish: func(ctx context.Context, batch []outbox.Message) error {
					p, err := nats.New(ctx, config(name, address))
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
					_, err := js.Publish(ctx, name+".garbage", []byte("no message"))
					return err
				},
				Open: func(ctx context.Context, address string, shared bool, cfg consumer.Config) (uowtest.ClosingConsumer, error) {
					c := consumerConfig(name, dead, address, cfg)
					c.Shared = shared
					return nats.NewConsumer(ctx, c)
				},
				Waiting: func(ctx context.Context) (int, error) { return waiting(ctx, js, name) },
				Dead: func(ctx context.Context) (all []uowtest.DeadLetter, err error) {
					err = read(ctx, js, dead, func(m jetstream.Msg) {
						all = append(all, uowtest.DeadLetter{
							Message: nats.Decode(m.Headers(), m.Data()), Reason: nats.DeadReason(m.Headers()),
						})
					})
					return all, err
				},
			}
		},
	}
}

func waiting(ctx context.Context, js jetstream.JetStream, stream string) (int, error) {
	c, err := js.Consumer(ctx, stream, "kit")
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		s, err := js.Stream(ctx, stream)
		if err != nil {
			return 0, err
		}
		return int(s.CachedInfo().State.Msgs), nil
	}
	if err != nil {
		return 0, err
	}
	info := c.CachedInfo()
	return info.NumAckPending + int(info.NumPending), nil
}

func TestConsumerOnAServer(t *testing.T) {
	t.Parallel() // they wait for AckWait often
	address := localServer(t)
	uowtest.TestConsumer(t, consumerHarness(address, func(t testing.TB) jetstream.JetStream { return connect(t, address) }))
}

func TestConsumerOnAnEmbeddedServer(t *testing.T) {
	t.Parallel() // they wait for AckWait often
	s := embeddedServer(t)
	uowtest.TestConsumer(t, consumerHarness(s.Address(), func(t testing.TB) jetstream.JetStream { return connect(t, "", s.InProcess()) }))
}

func TestConsumerIsChecked(t *testing.T) {
	s := embeddedServer(t)
	js := connect(t, "", s.InProcess())
	name := newStream(t, js, nil)
	short := newStream(t, js, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour })
	for durable, cfg := range map[string]jetstream.ConsumerConfig{
		"limited": {AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 5},
		"none":    {AckPolicy: jetstream.AckNonePolicy},
		"all":     {AckPolicy: jetstream.AckAllPolicy},
		"backoff": {AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: -1, BackOff: []time.Duration{time.Second}},
	} {
		cfg.Durable = durable
		if _, err := js.CreateConsumer(t.Context(), name, cfg); err != nil && durable != "backoff" {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		stream string
		change func(c *nats.ConsumerConfig)
		ok     bool
	}{
		"good":                   {name, func(*nats.ConsumerConfig) {}, true},
		"no handler":             {name, func(c *nats.ConsumerConfig) { c.Handle = nil }, false},
		"no stream":              {"uow-test-none", func(*nats.ConsumerConfig) {}, false},
		"no name":                {"", func(*nats.ConsumerConfig) {}, false},
		"no durable":             {name, func(c *nats.ConsumerConfig) { c.Durable = "" }, false},
		"a limit of deliveries":  {name, func(c *nats.ConsumerConfig) { c.Durable = "limited" }, false},
		"no acknowledgements":    {name, func(c *nats.ConsumerConfig) { c.Durable = "none" }, false},
		"cumulative ones":        {name, func(c *nats.ConsumerConfig) { c.Durable = "all" }, false},
		"a short wait":           {name, func(c *nats.ConsumerConfig) { c.AckWait = time.Millisecond }, false},
		"dead in a loop":         {name, func(c *nats.ConsumerConfig) { c.DeadSubject = name + ".dead" }, false},
		"dead nowhere":           {name, func(c *nats.ConsumerConfig) { c.DeadSubject = "uow-test-nowhere" }, false},
		"kept longer than known": {short, func(c *nats.ConsumerConfig) { c.Horizon = time.Minute }, false},
		"kept for ever":          {name, func(c *nats.ConsumerConfig) { c.Horizon = time.Hour }, false},
		"a horizon":              {short, func(c *nats.ConsumerConfig) { c.Horizon = time.Hour }, true},
		"dead that is not chosen": {name, func(c *nats.ConsumerConfig) {
			c.Durable, c.Subjects, c.DeadSubject = "some", []string{name + ".a"}, name+".dead"
		}, true},
		"less than it can work on": {name, func(c *nats.ConsumerConfig) { c.Prefetch = 1 }, false},
	} {
		cfg := consumerConfig(c.stream, "", s.Address(), consumer.Config{Handle: func(context.Context, consumer.Message) error { return nil }})
		cfg.DeadSubject = ""
		c.change(&cfg)
		found, err := nats.NewConsumer(t.Context(), cfg)
		if err == nil {
			_ = found.Close()
		}
		if c.ok != (err == nil) || !c.ok && !errors.Is(err, nats.ErrConfig) {
			t.Errorf("%s: NewConsumer returned %v", what, err)
		}
	}
}

func TestConsumerOfAServerThatIsNotThere(t *testing.T) {
	_, err := nats.NewConsumer(t.Context(), nats.ConsumerConfig{
		URL: "nats://user:topsecret@127.0.0.1:1", Stream: "S", Durable: "d",
		Config: consumer.Config{Handle: func(context.Context, consumer.Message) error { return nil }},
	})
	if err == nil || errors.Is(err, nats.ErrConfig) || !errors.Is(err, client.ErrNoServers) || containsSecret(err) {
		t.Errorf("NewConsumer returned %v", err)
	}
}

// What a consumer gives back at its end the next one has at once, in order, and does not
// wait for the hour that the server would.
func TestWhatIsGivenBackIsThereAtOnce(t *testing.T) {
	s := embeddedServer(t)
	js := connect(t, "", s.InProcess())
	name := newStream(t, js, nil)
	p, err := nats.New(t.Context(), config(name, s.Address()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var batch []outbox.Message
	for i := range 5 {
		batch = append(batch, outbox.Message{ID: fmt.Sprint(i), Key: "k", Type: "T", Topic: "t"})
	}
	p.Publish(t.Context(), batch)
	handled, blocked, done := make(chan string, 10), make(chan struct{}), make(chan error, 2)
	var block atomic.Bool
	block.Store(true)
	cfg := consumerConfig(name, "", s.Address(), consumer.Config{
		DrainTimeout: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Handle: func(ctx context.Context, m consumer.Message) error {
			if block.Load() {
				close(blocked)
				<-ctx.Done()
				return ctx.Err()
			}
			handled <- m.ID
			return nil
		},
	})
	cfg.DeadSubject, cfg.AckWait = "", time.Hour
	run := func() *nats.Consumer {
		c, err := nats.NewConsumer(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- c.Run(t.Context()) }()
		return c
	}
	first := run()
	<-blocked
	_ = first.Close()
	block.Store(false)
	second := run()
	for i := range batch {
		select {
		case id := <-handled:
			if id != batch[i].ID {
				t.Errorf("message %s came in the place of %s", id, batch[i].ID)
			}
		case <-time.After(time.Minute):
			t.Fatalf("message %d did not come", i)
		}
	}
	if err := errors.Join(second.Close(), <-done, <-done); err != nil {
		t.Error(err)
	}
}

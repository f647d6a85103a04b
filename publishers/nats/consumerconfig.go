package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/consumer"
)

// ConsumerConfig says what to consume, and how.
type ConsumerConfig struct {
	// Config says how messages are handled.
	consumer.Config

	// URL is where the servers are, as in Config. Default: nats://127.0.0.1:4222.
	URL string
	// Options are for the connection, as in Config.
	Options []client.Option

	// Stream is the stream's name. Required.
	Stream string
	// Durable is the name of the JetStream consumer, which processes share. It is
	// created when it is not there, and begins with the stream's first message then;
	// one that is there must acknowledge each message explicitly, have no limit of
	// deliveries (max_deliver, which drops messages) and no backoff of its own. Required.
	Durable string
	// Subjects selects messages when the JetStream consumer is created. Default: all.
	Subjects []string
	// AckWait is when the messages of a process that has died are delivered again, when
	// the JetStream consumer is created. While they are here the server is told to
	// wait. At least a second. Default: 30s.
	AckWait time.Duration
	// Shared says that several processes consume at once. Without it Run first waits, up to
	// AckWait, for what a former process has received and not acknowledged, so that
	// it comes before what is newer.
	Shared bool

	// DeadSubject is where refused messages are published. It must be one of a stream, and
	// none that is consumed here. Default: none, they are kept.
	DeadSubject string
	// Horizon is that of the inbox. When it is set, NewConsumer fails unless the stream
	// keeps messages for less (max_age).
	Horizon time.Duration
	// Timeout bounds connecting, and each question to the server. Default: 5s.
	Timeout time.Duration
}

func (c ConsumerConfig) resolve() (ConsumerConfig, error) {
	var err error
	if c.Config, err = c.Config.Resolve(); err != nil {
		return c, configError("%w", err)
	}
	switch {
	case c.Stream == "":
		return c, configError("Stream is missing")
	case c.Durable == "":
		return c, configError("Durable is missing")
	case c.AckWait < 0 || c.Horizon < 0 || c.Timeout < 0:
		return c, configError("AckWait, Horizon and Timeout can't be negative")
	case c.AckWait > 0 && c.AckWait < time.Second:
		return c, configError("AckWait is %v: it must be at least a second", c.AckWait)
	case c.DeadSubject != "" && checkSubject(c.DeadSubject) != nil:
		return c, configError("DeadSubject %q is no subject that can be published to", c.DeadSubject)
	}
	if c.URL == "" {
		c.URL = client.DefaultURL
	}
	if c.AckWait == 0 {
		c.AckWait = 30 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return c, nil
}

// openConsumer finds or creates the JetStream consumer, and checks it and its stream.
func (c ConsumerConfig) openConsumer(ctx context.Context, js jetstream.JetStream) (jetstream.Consumer, error) {
	stream, err := js.Stream(ctx, c.Stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, configError("there is no stream %s", c.Stream)
	case err != nil:
		return nil, fmt.Errorf("nats: stream %s: %w", c.Stream, err)
	}
	if age := stream.CachedInfo().Config.MaxAge; c.Horizon > 0 && (age == 0 || age > c.Horizon) {
		return nil, configError("stream %s keeps messages for %v (0 is for ever), and the Horizon is %v", c.Stream, age, c.Horizon)
	}
	found, err := stream.Consumer(ctx, c.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		found, err = stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable: c.Durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.AckWait,
			MaxDeliver: -1, MaxAckPending: max(1000, 64*c.Prefetch), FilterSubjects: c.Subjects,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("nats: consumer %s of stream %s: %w", c.Durable, c.Stream, err)
	}
	if err := c.checkConsumer(found.CachedInfo().Config); err != nil {
		return nil, err
	}
	return found, c.checkDead(ctx, js, stream.CachedInfo().Config, found.CachedInfo().Config)
}

func (c ConsumerConfig) checkConsumer(found jetstream.ConsumerConfig) error {
	switch {
	case found.AckPolicy != jetstream.AckExplicitPolicy:
		return configError("consumer %s has the acknowledgement policy %v: it must be explicit", c.Durable, found.AckPolicy)
	case found.MaxDeliver > 0:
		return configError("consumer %s has max_deliver %d: a message that fails more often would be lost", c.Durable, found.MaxDeliver)
	case len(found.BackOff) > 0:
		return configError("consumer %s has a backoff: its messages would be delivered again while they wait here", c.Durable)
	case found.AckWait < time.Second:
		return configError("consumer %s has ack_wait %v: it must be at least a second", c.Durable, found.AckWait)
	}
	return nil
}

// checkDead demands that refused messages are stored, and not consumed again.
func (c ConsumerConfig) checkDead(ctx context.Context, js jetstream.JetStream, stream jetstream.StreamConfig, found jetstream.ConsumerConfig) error {
	if c.DeadSubject == "" {
		return nil
	}
	name, err := js.StreamNameBySubject(ctx, c.DeadSubject)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return configError("DeadSubject %q is of no stream: nothing would keep what is refused", c.DeadSubject)
	}
	if err != nil {
		return fmt.Errorf("nats: the stream of %s: %w", c.DeadSubject, err)
	}
	filters := slices.Concat(found.FilterSubjects, []string{found.FilterSubject})
	if filters = slices.DeleteFunc(filters, func(f string) bool { return f == "" }); len(filters) == 0 {
		filters = stream.Subjects
	}
	if name == c.Stream && covered(filters, c.DeadSubject) {
		return configError("DeadSubject %q is consumed here: what is refused would come again", c.DeadSubject)
	}
	return nil
}

package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// ErrConfig is what errors.Is finds in errors of New that are about its Config, or
// about a stream that is not as the Config demands.
var ErrConfig = errors.New("nats: wrong configuration")

// Config says where to publish, and how.
type Config struct {
	// URL is where the servers are, as nats.Connect takes it: several with commas
	// between them. Default: nats://127.0.0.1:4222.
	URL string
	// Options are for the connection, such as credentials, TLS, or the one that leads
	// to an embedded server. Those about reconnecting and its handlers are the
	// publisher's own.
	Options []client.Option

	// Stream is the stream's name. Required.
	Stream string
	// Create is made when there is no stream of this name; its Name is ignored.
	// Default: New fails then.
	Create *jetstream.StreamConfig
	// Source is the CloudEvents attribute that tells which system the events are of:
	// a URI reference, such as "/orders". Required.
	Source string
	// Subject returns where a message is published. Default: its topic.
	Subject func(m outbox.Message) string

	// Fence has the server refuse what a relay still sends that was paused for longer than
	// its lease, so that nothing of it arrives late: each message names the one that must
	// be the stream's last before it. It is for a stream to which nobody else writes and a
	// relay of one partition (relay.Config.Partitions); what somebody else has written
	// costs a wait (relay.Unavailable, ErrFenced). Messages are stored in the order of the
	// batch, whatever their keys. Default: false, what is late arrives, in order and with
	// ids that the stream knows.
	Fence bool
	// MinDuplicates is the least window of duplicates that the stream must have.
	// Default: 2 minutes, the server's default.
	MinDuplicates time.Duration
	// MinReplicas is how many replicas the stream must have at least. Default: 1.
	MinReplicas int
	// AllowMemory allows a stream that keeps its messages in memory.
	AllowMemory bool

	// Concurrency is how many keys, and messages without a key, are under way at once
	// where the stream has no atomic batches. Default: 1024.
	Concurrency int
	// Timeout bounds connecting, writing to the connection, and asking for the
	// stream. Publish is bounded by its context. Default: 5s.
	Timeout time.Duration
}

func (c Config) resolve() (Config, error) {
	switch {
	case c.Stream == "":
		return c, configError("Stream is missing")
	case !cloudevents.ValidSource(c.Source):
		return c, configError("Source %q is not a URI reference", c.Source)
	case c.MinDuplicates < 0 || c.MinReplicas < 0 || c.Concurrency < 0 || c.Timeout < 0:
		return c, configError("MinDuplicates, MinReplicas, Concurrency and Timeout can't be negative")
	}
	if c.URL == "" {
		c.URL = client.DefaultURL
	}
	if c.Subject == nil {
		c.Subject = func(m outbox.Message) string { return m.Topic }
	}
	if c.MinDuplicates == 0 {
		c.MinDuplicates = 2 * time.Minute
	}
	if c.MinReplicas == 0 {
		c.MinReplicas = 1
	}
	if c.Concurrency == 0 {
		c.Concurrency = 1024
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return c, nil
}

func configError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

// openStream finds or creates the stream, and checks it.
func (c Config) openStream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, c.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if c.Create == nil {
			return nil, configError("there is no stream %s, and Create is not set", c.Stream)
		}
		create := *c.Create
		create.Name = c.Stream
		stream, err = js.CreateStream(ctx, create)
	}
	if err != nil {
		return nil, fmt.Errorf("nats: stream %s: %w", c.Stream, err)
	}
	return stream, c.check(stream.CachedInfo().Config)
}

func (c Config) check(stream jetstream.StreamConfig) error {
	switch {
	case stream.Storage != jetstream.FileStorage && !c.AllowMemory:
		return configError("stream %s keeps its messages in memory, and AllowMemory is not set", c.Stream)
	case stream.Duplicates < c.MinDuplicates:
		return configError("stream %s has a window of duplicates of %v, and MinDuplicates is %v", c.Stream, stream.Duplicates, c.MinDuplicates)
	case stream.Replicas < c.MinReplicas:
		return configError("stream %s has %d replicas, and MinReplicas is %d", c.Stream, stream.Replicas, c.MinReplicas)
	case stream.NoAck:
		return configError("stream %s does not acknowledge (no_ack)", c.Stream)
	case stream.Mirror != nil || stream.Sealed:
		return configError("stream %s takes no messages: it is a mirror, or sealed", c.Stream)
	}
	return nil
}

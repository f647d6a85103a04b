package kafka

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// ErrConfig is what errors.Is finds in errors of New that are about its Config.
var ErrConfig = errors.New("kafka: wrong configuration")

// Config says where to publish, and how.
type Config struct {
	// Brokers are some of the cluster's brokers, "host:port". Required.
	Brokers []string
	// Options are for the client, such as TLS, SASL or compression. Those about
	// acknowledgements, idempotence and retries are the publisher's own.
	Options []kgo.Opt

	// Topic returns where a message is published. Default: its topic.
	Topic func(m outbox.Message) string
	// Source is the CloudEvents attribute that tells which system the events are of:
	// a URI reference, such as "/orders". Required.
	Source string

	// MaxBatchBytes is the largest batch, uncompressed, in bytes, and so the largest
	// message with all its headers. It must not be more than the topics take
	// (max.message.bytes). Default: 1,000,000, which is less than their default.
	MaxBatchBytes int32
	// Concurrency is how many keys, and messages without a key, are under way at once
	// in each batch of the relay. Default: 512.
	Concurrency int
	// Timeout bounds asking whether any broker can be reached. Publish is bounded by
	// its context. Default: 5s.
	Timeout time.Duration
}

func (c Config) resolve() (Config, error) {
	switch {
	case len(c.Brokers) == 0:
		return c, configError("Brokers are missing")
	case !cloudevents.ValidSource(c.Source):
		return c, configError("Source %q is not a URI reference", c.Source)
	case c.MaxBatchBytes < 0 || c.Concurrency < 0 || c.Timeout < 0:
		return c, configError("MaxBatchBytes, Concurrency and Timeout can't be negative")
	case c.MaxBatchBytes > 0 && c.MaxBatchBytes < 2*overhead:
		return c, configError("MaxBatchBytes is less than %d", 2*overhead)
	}
	if c.Topic == nil {
		c.Topic = func(m outbox.Message) string { return m.Topic }
	}
	if c.MaxBatchBytes == 0 {
		c.MaxBatchBytes = 1_000_000
	}
	if c.Concurrency == 0 {
		c.Concurrency = 512
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return c, nil
}

func configError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

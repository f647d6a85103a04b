package rabbitmq

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// ErrConfig is what errors.Is finds in errors of New that are about its Config.
var ErrConfig = errors.New("rabbitmq: wrong configuration")

// Config says where to publish, and how.
type Config struct {
	// URL is where the broker is: amqp or amqps. Required.
	URL string
	// TLS is for amqps. Default: the system's.
	TLS *tls.Config

	// Exchange is where to publish. It must exist. Default: the broker's default
	// exchange, whose routing keys are names of queues.
	Exchange string
	// RoutingKey returns a message's routing key. Default: its topic.
	RoutingKey func(m outbox.Message) string
	// Queue is declared with the exchange, when it is set.
	Queue *Queue
	// Source is the CloudEvents attribute that tells which system the events are of:
	// a URI reference, such as "/orders". Required.
	Source string

	// RefuseUnroutable refuses messages for good that are routed to no queue.
	// Default: they are retried.
	RefuseUnroutable bool
	// MaxPayload is the largest payload, in bytes, that is sent. It must not be more
	// than the broker takes (max_message_size), which would close the channel for it.
	// Default: 16 MiB, which is the default of RabbitMQ 4.
	MaxPayload int
	// Concurrency is how many keys, and messages without a key, are under way at once
	// in each batch. Default: 256.
	Concurrency int
	// Timeout bounds connecting and declaring. Publish is bounded by its context.
	// Default: 5s.
	Timeout time.Duration
}

// Queue is a queue that is declared when a connection is opened: a durable quorum
// queue.
type Queue struct {
	// Name is the queue's name. Required.
	Name string
	// RoutingKeys bind the queue to the exchange. They can't be given for the default
	// exchange.
	RoutingKeys []string
	// Arguments are arguments of the declaration besides x-queue-type, such as
	// x-max-length. A queue that exists must have the same.
	Arguments map[string]any
}

func (c Config) resolve() (Config, error) {
	uri, err := amqp.ParseURI(c.URL)
	switch {
	case err != nil: // its text may have the URL
		return c, configError("URL can't be parsed: it must be amqp://user:password@host:port/vhost")
	case uri.Host == "":
		return c, configError("URL has no host")
	case !cloudevents.ValidSource(c.Source):
		return c, configError("Source %q is not a URI reference", c.Source)
	case c.MaxPayload < 0 || c.Concurrency < 0 || c.Timeout < 0:
		return c, configError("MaxPayload, Concurrency and Timeout can't be negative")
	case c.Queue != nil && c.Queue.Name == "":
		return c, configError("Queue has no Name")
	case c.Queue != nil && c.Exchange == "" && len(c.Queue.RoutingKeys) > 0:
		return c, configError("Queue has RoutingKeys, and the default exchange takes none")
	}
	if c.RoutingKey == nil {
		c.RoutingKey = func(m outbox.Message) string { return m.Topic }
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = 16 << 20
	}
	if c.Concurrency == 0 {
		c.Concurrency = 256
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return c, nil
}

func configError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

// declare checks the exchange, and declares what the Config asks for.
func (c Config) declare(ch *amqp.Channel) error {
	if c.Exchange != "" {
		// Passive: the kind does not matter.
		if err := ch.ExchangeDeclarePassive(c.Exchange, amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
			return fmt.Errorf("rabbitmq: exchange %s: %w", c.Exchange, err)
		}
	}
	if c.Queue == nil {
		return nil
	}
	arguments := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
	for name, value := range c.Queue.Arguments {
		arguments[name] = value
	}
	if _, err := ch.QueueDeclare(c.Queue.Name, true, false, false, false, arguments); err != nil {
		return fmt.Errorf("rabbitmq: queue %s: %w", c.Queue.Name, err)
	}
	for _, key := range c.Queue.RoutingKeys {
		if err := ch.QueueBind(c.Queue.Name, key, c.Exchange, false, nil); err != nil {
			return fmt.Errorf("rabbitmq: bind queue %s: %w", c.Queue.Name, err)
		}
	}
	return nil
}

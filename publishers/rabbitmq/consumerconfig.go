package rabbitmq

import (
	"crypto/tls"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/uow-go/uow/consumer"
)

// ConsumerConfig says what to consume, and how.
type ConsumerConfig struct {
	// Config says how messages are handled. Prefetch is what the broker is asked for too.
	consumer.Config

	// URL is where the broker is: amqp or amqps. Required.
	URL string
	// TLS is for amqps. Default: the system's.
	TLS *tls.Config

	// Queue is the queue's name. It must exist. Required.
	Queue string
	// Shared says that several processes consume at once. Without it the consumer is an
	// exclusive one, which the broker takes when no other is there, so that what a
	// former one has left comes before what is newer.
	Shared bool

	// DeadExchange is where refused messages are published, with the routing key DeadKey:
	// it must exist, and route them to a queue. The default exchange takes the name of
	// the queue as DeadKey. Default: neither, they are kept.
	DeadExchange string
	// DeadKey is the routing key of refused messages.
	DeadKey string

	// Timeout bounds connecting, putting away a refused message, and ending. Default: 5s.
	Timeout time.Duration
}

func (c ConsumerConfig) resolve() (ConsumerConfig, error) {
	var err error
	if c.Config, err = c.Config.Resolve(); err != nil {
		return c, configError("%w", err)
	}
	uri, err := amqp.ParseURI(c.URL)
	switch {
	case err != nil: // its text may have the URL
		return c, configError("URL can't be parsed: it must be amqp://user:password@host:port/vhost")
	case uri.Host == "":
		return c, configError("URL has no host")
	case c.Queue == "":
		return c, configError("Queue is missing")
	case c.Prefetch > 1<<16-1:
		return c, configError("Prefetch is %d: the protocol takes %d", c.Prefetch, 1<<16-1)
	case c.Timeout < 0:
		return c, configError("Timeout can't be negative")
	case c.DeadExchange == "" && c.DeadKey == c.Queue:
		return c, configError("DeadKey is the queue itself: what is refused would come again")
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return c, nil
}

// hasPlace reports whether refused messages are put away.
func (c ConsumerConfig) hasPlace() bool { return c.DeadExchange != "" || c.DeadKey != "" }

// deadConfig is that of the publisher of refused messages.
func (c ConsumerConfig) deadConfig() Config {
	return Config{URL: c.URL, TLS: c.TLS, Exchange: c.DeadExchange, Timeout: c.Timeout}
}

// checkDead demands that the queue of refused messages exists, where it is named.
func (c ConsumerConfig) checkDead(ch *amqp.Channel) error {
	if c.DeadExchange != "" || c.DeadKey == "" {
		return nil
	}
	if _, err := ch.QueueDeclarePassive(c.DeadKey, true, false, false, false, nil); err != nil {
		return fmt.Errorf("rabbitmq: queue %s: %w", c.DeadKey, err)
	}
	return nil
}

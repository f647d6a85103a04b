package consumers_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"
	redisclient "github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/integration/internal/servers"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/kafka"
	"github.com/uow-go/uow/publishers/nats"
	"github.com/uow-go/uow/publishers/nats/embedded"
	"github.com/uow-go/uow/publishers/rabbitmq"
	"github.com/uow-go/uow/publishers/redis"
	"github.com/uow-go/uow/relay"
)

// broker is where events go, and come from.
type broker struct {
	kind, address, name string

	publish func(ctx context.Context) (closingPublisher, error)
	consume func(ctx context.Context, cfg consumer.Config) (closingConsumer, error)
}

type closingPublisher interface {
	relay.Publisher
	Close() error
}

type closingConsumer interface {
	Run(ctx context.Context) error
	Close() error
}

const source = "/bank"

// brokerNamed is the broker that a process is told of.
func brokerNamed(kind, address, name string) (broker, error) {
	b := broker{kind: kind, address: address, name: name}
	everything := func(outbox.Message) string { return name }
	switch kind {
	case "nats":
		b.publish = func(ctx context.Context) (closingPublisher, error) {
			return nats.New(ctx, nats.Config{URL: address, Stream: name, Source: source, Subject: everything, Create: &jetstream.StreamConfig{Subjects: []string{name}}})
		}
		b.consume = func(ctx context.Context, cfg consumer.Config) (closingConsumer, error) {
			return nats.NewConsumer(ctx, nats.ConsumerConfig{Config: cfg, URL: address, Stream: name, Durable: "shop", AckWait: time.Second})
		}
	case "rabbitmq":
		b.publish = func(ctx context.Context) (closingPublisher, error) {
			return rabbitmq.New(ctx, rabbitmq.Config{URL: address, Source: source, RoutingKey: everything, Queue: &rabbitmq.Queue{Name: name}})
		}
		b.consume = func(ctx context.Context, cfg consumer.Config) (closingConsumer, error) {
			return rabbitmq.NewConsumer(ctx, rabbitmq.ConsumerConfig{Config: cfg, URL: address, Queue: name})
		}
	case "redis":
		b.publish = func(ctx context.Context) (closingPublisher, error) {
			return redis.New(ctx, redis.Config{Options: redisclient.Options{Addr: address}, Source: source, Stream: everything, Durability: redis.InMemory, Window: time.Minute})
		}
		b.consume = func(ctx context.Context, cfg consumer.Config) (closingConsumer, error) {
			return redis.NewConsumer(ctx, redis.ConsumerConfig{Config: cfg, Options: redisclient.Options{Addr: address}, Stream: name, Group: "shop"})
		}
	case "kafka":
		b.publish = func(ctx context.Context) (closingPublisher, error) {
			return kafka.New(ctx, kafka.Config{Brokers: []string{address}, Source: source, Topic: everything})
		}
		b.consume = func(ctx context.Context, cfg consumer.Config) (closingConsumer, error) {
			return kafka.NewConsumer(ctx, kafka.ConsumerConfig{
				Config: cfg, Brokers: []string{address}, Topics: []string{name}, Group: name, SessionTimeout: time.Second,
				RebalanceTimeout: 5 * time.Second,
				// A static member, whose place the next process takes: kfake never expires a member that was killed
				// while it joined, and leaves it its partitions.
				Options: []kgo.Opt{kgo.InstanceID("shop")},
			})
		}
	default:
		return b, fmt.Errorf("there is no broker %q", kind)
	}
	return b, nil
}

// findBroker returns a broker with something of a test's own to publish to. NATS and Kafka
// run in this process, Kafka as a fake that speaks its protocol; the others are those of
// RABBITMQ_URL and REDIS_ADDR, or at their standard ports.
func findBroker(t *testing.T, kind string) broker {
	t.Helper()
	name, address := "uow-test-"+rand.Text()[:10], ""
	switch kind {
	case "nats":
		s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		address = "nats://" + s.Address()
	case "kafka":
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, name), kfake.BrokerConfigs(map[string]string{
			"group.min.session.timeout.ms": "100", "group.initial.rebalance.delay.ms": "0",
		}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		address = c.ListenAddrs()[0]
	case "rabbitmq":
		address = cmp.Or(os.Getenv("RABBITMQ_URL"), "amqp://guest:guest@127.0.0.1:5672/")
		c, err := amqp.DialConfig(address, amqp.Config{Dial: func(network, address string) (net.Conn, error) { return net.DialTimeout(network, address, time.Second) }})
		if err != nil {
			servers.Missing(t, "RabbitMQ: set RABBITMQ_URL, or start one at 127.0.0.1:5672", err)
		}
		t.Cleanup(func() {
			if channel, err := c.Channel(); err == nil {
				_, _ = channel.QueueDelete(name, false, false, false)
			}
			_ = c.Close()
		})
	case "redis":
		address = cmp.Or(os.Getenv("REDIS_ADDR"), "127.0.0.1:6379")
		c := redisclient.NewClient(&redisclient.Options{Addr: address})
		if err := c.Ping(t.Context()).Err(); err != nil {
			servers.Missing(t, "Redis: set REDIS_ADDR, or start one at 127.0.0.1:6379", err)
		}
		t.Cleanup(func() {
			keys := c.Scan(context.Background(), 0, name+"*", 1000).Iterator()
			for keys.Next(context.Background()) {
				c.Del(context.Background(), keys.Val())
			}
			_ = c.Close()
		})
	}
	b, err := brokerNamed(kind, address, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/kafka"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/uowtest"
)

func consumerConfig(x, dead *topic, address string, cfg consumer.Config) kafka.ConsumerConfig {
	return kafka.ConsumerConfig{
		Config: cfg, Brokers: []string{address}, Options: append(config(x, address).Options, kgo.FetchMaxWait(20*time.Millisecond)),
		Topics: []string{x.name}, Group: x.name, DeadTopic: dead.name, SessionTimeout: time.Second, Timeout: 2 * time.Second,
	}
}

// newGroupCluster lets groups notice soon that one of them has died.
func newGroupCluster(t testing.TB) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{
		"group.min.session.timeout.ms": "100", "group.initial.rebalance.delay.ms": "0",
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestConsumer(t *testing.T) {
	c := newGroupCluster(t)
	uowtest.TestConsumer(t, uowtest.ConsumerHarness{
		Address: c.ListenAddrs()[0], MaxPayload: 3 << 20,
		Lacks: uowtest.ConsumerCapabilities{Sharing: true, Selection: true},
		New: func(t testing.TB) uowtest.Queue {
			x, dead := newTopic(t, c), newTopic(t, c)
			return uowtest.Queue{
				Publish: func(ctx context.Context, batch []outbox.Message) error {
					p, err := kafka.New(ctx, config(x, c.ListenAddrs()[0]))
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
					return x.client.ProduceSync(ctx, &kgo.Record{Topic: x.name, Value: []byte("no message")}).FirstErr()
				},
				Open: func(ctx context.Context, address string, _ bool, cfg consumer.Config) (uowtest.ClosingConsumer, error) {
					return kafka.NewConsumer(ctx, consumerConfig(x, dead, address, cfg))
				},
				Waiting: x.waiting,
				Dead: func(ctx context.Context) (all []uowtest.DeadLetter, err error) {
					err = dead.read(ctx)
					for _, r := range dead.got {
						all = append(all, uowtest.DeadLetter{Message: kafka.Decode(r), Reason: kafka.DeadReason(r)})
					}
					return all, err
				},
			}
		},
	})
}

// waiting counts what is behind the group's offsets.
func (x *topic) waiting(ctx context.Context) (n int, err error) {
	ends, err := x.ends(ctx)
	if err != nil {
		return 0, err
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group = x.name
	one := kmsg.NewOffsetFetchRequestTopic()
	one.Topic, one.Partitions = x.name, []int32{0, 1}
	fetch.Topics = append(fetch.Topics, one)
	group := kmsg.NewOffsetFetchRequestGroup()
	asked := kmsg.NewOffsetFetchRequestGroupTopic()
	asked.Topic, asked.Partitions = x.name, []int32{0, 1}
	group.Group, group.Topics = x.name, append(group.Topics, asked)
	fetch.Groups = append(fetch.Groups, group)
	answer, err := fetch.RequestWith(ctx, x.client)
	if err != nil {
		return 0, err
	}
	for _, end := range ends {
		n += int(end.Offset)
	}
	for _, g := range answer.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			return 0, err
		}
		for _, topic := range g.Topics {
			for _, p := range topic.Partitions {
				n -= int(max(p.Offset, 0))
			}
		}
	}
	return n, nil
}

func TestConsumerIsChecked(t *testing.T) {
	c := newCluster(t, 1)
	x, dead := newTopic(t, c), newTopic(t, c)
	for what, row := range map[string]struct {
		change     func(c *kafka.ConsumerConfig)
		ok, config bool
	}{
		"good":                    {func(*kafka.ConsumerConfig) {}, true, false},
		"no handler":              {func(c *kafka.ConsumerConfig) { c.Handle = nil }, false, true},
		"no brokers":              {func(c *kafka.ConsumerConfig) { c.Brokers = nil }, false, true},
		"no topics":               {func(c *kafka.ConsumerConfig) { c.Topics = nil }, false, true},
		"a topic not there":       {func(c *kafka.ConsumerConfig) { c.Topics = []string{"uow-test-none"} }, false, true},
		"no group":                {func(c *kafka.ConsumerConfig) { c.Group = "" }, false, true},
		"a loop":                  {func(c *kafka.ConsumerConfig) { c.DeadTopic = x.name }, false, true},
		"dead not there":          {func(c *kafka.ConsumerConfig) { c.DeadTopic = "uow-test-none" }, false, true},
		"no time to hand over":    {func(c *kafka.ConsumerConfig) { c.RebalanceTimeout = -1 }, false, true},
		"kept for longer":         {func(c *kafka.ConsumerConfig) { c.Horizon = time.Hour }, false, true},
		"kept for seven days":     {func(c *kafka.ConsumerConfig) { c.Horizon = 8 * 24 * time.Hour }, true, false},
		"nobody listens":          {func(c *kafka.ConsumerConfig) { c.Brokers, c.Options = []string{"127.0.0.1:1"}, nil }, false, false},
		"an option that can't be": {func(c *kafka.ConsumerConfig) { c.Options = append(c.Options, kgo.BrokerMaxReadBytes(1)) }, false, true},
	} {
		cfg := consumerConfig(x, dead, c.ListenAddrs()[0], consumer.Config{Handle: func(context.Context, consumer.Message) error { return nil }})
		row.change(&cfg)
		found, err := kafka.NewConsumer(t.Context(), cfg)
		if err == nil {
			_ = found.Close()
		}
		if row.ok != (err == nil) || row.config != errors.Is(err, kafka.ErrConfig) {
			t.Errorf("%s: NewConsumer returned %v", what, err)
		}
	}
}

// A record that fails keeps a bounded number of others of its partition ahead of it,
// whereas those of another partition go on.
func TestRecordsAheadAreBounded(t *testing.T) {
	c := newGroupCluster(t)
	x, dead := newTopic(t, c), newTopic(t, c)
	const most, all = 8, 60
	var batch []*kgo.Record
	for i := range all {
		batch = append(batch, record(x.name, fmt.Sprint("k", i))) // to partition 0
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	handled := map[string]int{}
	enough, well, done, others := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	cfg := consumerConfig(x, dead, c.ListenAddrs()[0], consumer.Config{
		Prefetch: 4, Concurrency: 4, Backoff: relay.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}, Logger: slog.New(slog.DiscardHandler), MaxAttempts: -1,
		Handle: func(_ context.Context, m consumer.Message) error {
			if m.Key == "k0" {
				select {
				case <-well:
				default:
					return errors.New("fails")
				}
			}
			if m.Key == "other" {
				others <- struct{}{}
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if handled[m.Key]++; len(handled) == most-1 && m.Key != "k0" {
				close(enough)
			}
			if len(handled) == all {
				close(done)
			}
			return nil
		},
	})
	cfg.MaxAhead = most
	one, err := kafka.NewConsumer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- one.Run(t.Context()) }()
	<-enough
	for range all { // each is received anew, and what else there is to receive with it
		other := record(x.name, "other")
		other.Partition = 1
		if err := producer.ProduceSync(t.Context(), other).FirstErr(); err != nil {
			t.Fatal(err)
		}
		<-others
	}
	mu.Lock()
	if n := len(handled); n >= most+cfg.Prefetch {
		t.Errorf("%d records were handled ahead of the first; MaxAhead is %d", n, most)
	}
	mu.Unlock()
	close(well)
	<-done
	if err := errors.Join(one.Close(), <-ended); err != nil {
		t.Error(err)
	}
}

// record is a record as the publisher makes it.
func record(topic, key string) *kgo.Record {
	r := &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte("v")}
	for name, value := range map[string]string{"specversion": "1.0", "id": key, "source": "/bank", "type": "T", "time": "2026-01-02T03:04:05Z", "partitionkey": key} {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "ce_" + name, Value: []byte(value)})
	}
	return r
}

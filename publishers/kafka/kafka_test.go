package kafka_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/kafka"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/uowtest"
)

// The brokers of these tests run in process and speak Kafka's protocol (kfake).
func newCluster(t testing.TB, brokers int) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const partitions = 2

// topic is one of a test, and reads what is in it.
type topic struct {
	name   string
	client *kgo.Client

	mu  sync.Mutex
	got []*kgo.Record
	n   [partitions]int64
}

func newTopic(t testing.TB, c *kfake.Cluster) *topic {
	t.Helper()
	x := &topic{name: "uow-test-" + rand.Text()[:10]}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	create := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = x.name, partitions, 1
	largest := kmsg.NewCreateTopicsRequestTopicConfig()
	value := "9000000"
	largest.Name, largest.Value = "max.message.bytes", &value
	one.Configs = append(one.Configs, largest)
	create.Topics = append(create.Topics, one)
	answer, err := create.RequestWith(t.Context(), client)
	if err == nil {
		err = kerr.ErrorForCode(answer.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	offsets := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		offsets[p] = kgo.NewOffset().AtStart()
	}
	x.client, err = kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.FetchMaxWait(20*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{x.name: offsets}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.client.Close)
	return x
}

// ends asks for the ends of the partitions.
func (x *topic) ends(ctx context.Context) ([]kmsg.ListOffsetsResponseTopicPartition, error) {
	list := kmsg.NewPtrListOffsetsRequest()
	one := kmsg.NewListOffsetsRequestTopic()
	one.Topic = x.name
	for p := range int32(partitions) {
		partition := kmsg.NewListOffsetsRequestTopicPartition()
		partition.Partition, partition.Timestamp = p, -1
		one.Partitions = append(one.Partitions, partition)
	}
	list.Topics = append(list.Topics, one)
	answer, err := list.RequestWith(ctx, x.client)
	if err != nil {
		return nil, err
	}
	return answer.Topics[0].Partitions, nil
}

// read reads to the topic's end.
func (x *topic) read(ctx context.Context) error {
	ends, err := x.ends(ctx)
	if err != nil {
		return err
	}
	behind := func() bool {
		return slices.ContainsFunc(ends, func(p kmsg.ListOffsetsResponseTopicPartition) bool {
			return x.n[p.Partition] < p.Offset
		})
	}
	for behind() {
		fetches := x.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			x.n[r.Partition] = r.Offset + 1
			x.got = append(x.got, r)
		})
	}
	return nil
}

// stored returns all that is in the topic.
func (x *topic) stored(ctx context.Context) (all []outbox.Message, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	err = x.read(ctx)
	for _, r := range x.got {
		all = append(all, kafka.Decode(r))
	}
	return all, err
}

// config leads all connections to the address: brokers say where they listen
// themselves.
func config(x *topic, address string) kafka.Config {
	return kafka.Config{
		Brokers: []string{address}, Source: "/bank", MaxBatchBytes: 4 << 20,
		Options: []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, address)
		})},
		Topic: func(m outbox.Message) string {
			if m.Topic == "nowhere" {
				return "uow-test-nowhere"
			}
			return x.name
		},
	}
}

func TestPublisher(t *testing.T) {
	c := newCluster(t, 1)
	uowtest.TestPublisher(t, uowtest.PublisherHarness{
		Address: c.ListenAddrs()[0], MaxPayload: 3 << 20,
		Lacks: uowtest.PublisherCapabilities{Deduplication: true},
		New: func(t testing.TB) uowtest.Destination {
			x := newTopic(t, c)
			return uowtest.Destination{
				Open: func(ctx context.Context, address string) (uowtest.ClosingPublisher, error) {
					return kafka.New(ctx, config(x, address))
				},
				Stored: x.stored,
				Poison: func(m outbox.Message) outbox.Message {
					m.Topic = "nowhere"
					return m
				},
			}
		},
	})
}

func batchOf(key string, n int) (batch []outbox.Message) {
	for i := range n {
		batch = append(batch, outbox.Message{ID: fmt.Sprintf("%s-%d", key, i), Key: key, Type: "T", Topic: "t"})
	}
	return batch
}

// A broker that fails a batch could take the next one: the key stops.
func TestP21_FailedBatchStopsItsKey(t *testing.T) {
	c := newCluster(t, 1)
	x := newTopic(t, c)
	p, err := kafka.New(t.Context(), config(x, c.ListenAddrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for name, code := range map[string]struct {
		code int16
		want relay.Outcome
	}{
		"invalid record":   {kerr.InvalidRecord.Code, relay.Retry},
		"no permission":    {kerr.TopicAuthorizationFailed.Code, relay.Retry},
		"too large for it": {kerr.MessageTooLarge.Code, relay.Retry},
	} {
		c.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
			produce := request.(*kmsg.ProduceRequest)
			response := produce.ResponseKind().(*kmsg.ProduceResponse)
			for _, asked := range produce.Topics {
				topic := kmsg.NewProduceResponseTopic()
				topic.Topic, topic.TopicID = asked.Topic, asked.TopicID
				for _, a := range asked.Partitions {
					partition := kmsg.NewProduceResponseTopicPartition()
					partition.Partition, partition.ErrorCode = a.Partition, code.code
					topic.Partitions = append(topic.Partitions, partition)
				}
				response.Topics = append(response.Topics, topic)
			}
			return response, nil, true
		})
		var got []relay.Outcome
		for _, r := range p.Publish(t.Context(), batchOf(name, 3)) {
			got = append(got, r.Outcome)
		}
		if want := []relay.Outcome{code.want, relay.NotTried, relay.NotTried}; !slices.Equal(got, want) {
			t.Errorf("%s: outcomes are %v, want %v", name, got, want)
		}
		if all, err := x.stored(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("%s: %d messages are stored (%v)", name, len(all), err)
		}
	}
	for i, r := range p.Publish(t.Context(), batchOf("after", 3)) {
		if r.Outcome != relay.Stored {
			t.Errorf("afterwards message %d is %v (%v)", i, r.Outcome, r.Err)
		}
	}
}

// Of several brokers one that can't be reached is no outage of all.
func TestOneBrokerOfThreeGoes(t *testing.T) {
	c := newCluster(t, 3)
	x := newTopic(t, c)
	cfg := config(x, "")
	cfg.Brokers, cfg.Options = c.ListenAddrs(), nil
	p, err := kafka.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	publish := func(key string) {
		t.Helper()
		batch := batchOf(key, 3)
		for began := time.Now(); len(batch) > 0; {
			if time.Since(began) > time.Minute {
				t.Fatalf("%s can't be published", batch[0].ID)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			var rest []outbox.Message
			for i, r := range p.Publish(ctx, batch) {
				if r.Outcome == relay.Unavailable {
					t.Errorf("with two brokers left %s is %v (%v)", batch[i].ID, r.Outcome, r.Err)
				}
				if !r.Outcome.Delivered() {
					rest = append(rest, batch[i])
				}
			}
			cancel()
			batch = rest
		}
	}
	publish("before")
	if err := c.RemoveNode(c.LeaderFor(x.name, 0)); err != nil {
		t.Fatal(err)
	}
	for i := range 10 { // of both partitions
		publish(fmt.Sprint("after", i))
	}
}

func TestConfigIsValidated(t *testing.T) {
	good := kafka.Config{Brokers: []string{"127.0.0.1:1"}, Source: "/bank", Timeout: 500 * time.Millisecond}
	if _, err := kafka.New(t.Context(), good); err == nil || errors.Is(err, kafka.ErrConfig) || !strings.HasPrefix(err.Error(), "kafka: ") {
		t.Errorf("New returned %v", err)
	}
	for name, change := range map[string]func(c *kafka.Config){
		"no brokers": func(c *kafka.Config) { c.Brokers = nil },
		"no Source":  func(c *kafka.Config) { c.Source = "" },
		"negative":   func(c *kafka.Config) { c.Concurrency = -1 },
		"tiny":       func(c *kafka.Config) { c.MaxBatchBytes = 100 },
		"bad option": func(c *kafka.Config) { c.Options = []kgo.Opt{kgo.ClientID("\x00"), kgo.BrokerMaxWriteBytes(1)} },
	} {
		cfg := good
		change(&cfg)
		if _, err := kafka.New(t.Context(), cfg); !errors.Is(err, kafka.ErrConfig) {
			t.Errorf("%s: New returned %v", name, err)
		}
	}
}

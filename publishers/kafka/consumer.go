package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/uow-go/uow/consumer"
)

// Consumer handles the records of topics as one of a consumer group, with a client of its
// own.
type Consumer struct{ runner *consumer.Runner }

// NewConsumer asks the brokers for the topics. Errors are ErrConfig, or tell that no broker
// can be reached. The caller must Close it.
func NewConsumer(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	if err := kgo.ValidateOpts(cfg.options(&assignments{})...); err != nil {
		return nil, configError("%v", err)
	}
	if err := cfg.check(ctx); err != nil {
		return nil, err
	}
	return &Consumer{runner: consumer.NewRunner(cfg.Config, &source{cfg: cfg}, 0)}, nil
}

// Run joins the group and handles messages until ctx ends, or Close. Then it begins nothing
// new, lets handlers finish, commits, leaves the group, and returns nil. While no broker
// can be reached it waits. It returns an error only when it is running already, or closed.
func (c *Consumer) Run(ctx context.Context) error { return c.runner.Run(ctx) }

// Close ends Run as its context does. It may be called again.
func (c *Consumer) Close() error {
	c.runner.Close()
	return nil
}

// source is the brokers' side. It has a client from the first Receive to Return.
type source struct {
	cfg         ConsumerConfig
	client      *kgo.Client
	assignments *assignments
}

// What the client does by itself, and how often.
const (
	commitEvery  = 500 * time.Millisecond
	maxDeadBatch = 64 << 20 // the brokers know better
)

// options are the client's.
func (c ConsumerConfig) options(s *assignments) []kgo.Opt {
	return append(append([]kgo.Opt{kgo.ClientID("uow")}, c.Options...),
		kgo.SeedBrokers(c.Brokers...),
		kgo.ConsumerGroup(c.Group),
		kgo.ConsumeTopics(c.Topics...),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.BlockRebalanceOnPoll(),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(commitEvery),
		kgo.SessionTimeout(c.SessionTimeout),
		kgo.HeartbeatInterval(min(3*time.Second, c.SessionTimeout/3)),
		kgo.RebalanceTimeout(c.RebalanceTimeout),
		kgo.OnPartitionsAssigned(s.onAssigned),
		kgo.OnPartitionsRevoked(s.onRevoked),
		kgo.OnPartitionsLost(s.onLost),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(maxDeadBatch),
		kgo.ProducerLinger(0),
		kgo.RetryBackoffFn(func(tries int) time.Duration { return min(time.Duration(tries)*50*time.Millisecond, time.Second) }),
		kgo.MetadataMinAge(100*time.Millisecond),
	)
}

func (s *source) open() error {
	s.assignments = &assignments{all: map[place]*assignment{}, drainFor: min(s.cfg.DrainTimeout, s.cfg.RebalanceTimeout/2)}
	client, err := kgo.NewClient(s.cfg.options(s.assignments)...)
	if err != nil {
		return configError("%v", err)
	}
	s.client = client
	return nil
}

func (s *source) mark(at place, offset kgo.EpochOffset) {
	s.client.MarkCommitOffsets(map[string]map[int32]kgo.EpochOffset{at.topic: {at.partition: offset}})
}

func (s *source) pause(at place) {
	s.client.PauseFetchPartitions(map[string][]int32{at.topic: {at.partition}})
}

func (s *source) resume(at place) {
	s.client.ResumeFetchPartitions(map[string][]int32{at.topic: {at.partition}})
}

// Receive implements consumer.Source. Partitions do not change while it looks up whose
// the records are.
func (s *source) Receive(ctx context.Context, limit int) (all []*consumer.Delivery, err error) {
	if s.client == nil {
		if err := s.open(); err != nil {
			return nil, err
		}
	}
	fetches := s.client.PollRecords(ctx, limit)
	defer s.client.AllowRebalance()
	fetches.EachRecord(func(r *kgo.Record) {
		if a := s.assignments.find(r); a != nil {
			all = append(all, a.delivery(r, s.cfg.MaxAhead, s))
		}
	})
	if ctx.Err() != nil {
		return all, nil
	}
	fetches.EachError(func(topic string, partition int32, failed error) {
		err = fmt.Errorf("kafka: topic %s, partition %d: %w", topic, partition, failed)
	})
	return all, err
}

// Extend implements consumer.Source. The client tells the brokers that it is alive.
func (s *source) Extend(context.Context, []*consumer.Delivery) error { return nil }

// Ack implements consumer.Source. The client commits a little later.
func (s *source) Ack(_ context.Context, d *consumer.Delivery) error {
	return d.Token.(*flight).acknowledge(s.cfg.MaxAhead, s)
}

// Headers of what was refused.
const (
	headerReason    = "dead-letter-reason"
	headerTopic     = "dead-letter-topic"
	headerPartition = "dead-letter-partition"
	headerOffset    = "dead-letter-offset"
	headerGroup     = "dead-letter-group"
)

// Refuse implements consumer.Source.
func (s *source) Refuse(ctx context.Context, d *consumer.Delivery, reason error) error {
	if s.cfg.DeadTopic == "" {
		return consumer.ErrNoPlace
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	r := d.Token.(*flight).record
	dead := &kgo.Record{Topic: s.cfg.DeadTopic, Key: r.Key, Value: r.Value, Headers: slices.Clone(r.Headers)}
	for _, h := range []struct{ name, value string }{
		{headerReason, consumer.Reason(reason)}, {headerTopic, r.Topic}, {headerGroup, s.cfg.Group},
		{headerPartition, fmt.Sprint(r.Partition)}, {headerOffset, fmt.Sprint(r.Offset)},
	} {
		dead.Headers = append(dead.Headers, kgo.RecordHeader{Key: h.name, Value: []byte(h.value)})
	}
	if err := s.client.ProduceSync(ctx, dead).FirstErr(); err != nil {
		return fmt.Errorf("kafka: topic %s: %w", s.cfg.DeadTopic, err)
	}
	return s.Ack(ctx, d)
}

// Return implements consumer.Source: what is not committed goes with its partition.
func (s *source) Return(ctx context.Context, _ []*consumer.Delivery) error {
	if s.client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	s.assignments.leave()
	failed := s.client.CommitMarkedOffsets(ctx)
	err := errors.Join(failed, s.client.LeaveGroupContext(ctx))
	s.client.CloseAllowingRebalance()
	s.client = nil
	if err != nil {
		return fmt.Errorf("kafka: leave the group: %w", err)
	}
	return nil
}

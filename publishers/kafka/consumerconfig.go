package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/uow-go/uow/consumer"
)

// ConsumerConfig says what to consume, and how.
type ConsumerConfig struct {
	// Config says how messages are handled.
	consumer.Config

	// Brokers are some of the cluster's brokers, "host:port". Required.
	Brokers []string
	// Options are for the client, such as TLS, SASL or the balancer. Those about offsets,
	// callbacks of the group and time limits are the consumer's own.
	Options []kgo.Opt

	// Topics are what is consumed. They must exist. Required.
	Topics []string
	// Group is the consumer group. One that is new begins with the first records. Required.
	Group string
	// SessionTimeout is when the partitions of a process that has died become others'. The
	// brokers have bounds for it. Default: 45s.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long a group that changes waits for its members to hand over
	// what they have. A consumer spends half of it, and DrainTimeout, at most on handlers
	// that are at work. Default: 1m.
	RebalanceTimeout time.Duration
	// MaxAhead is how many records of a partition may be received from the first on that is
	// not handled. They come again, as duplicates, when the partition moves, so they must
	// not be older than the inbox' horizon. When there are as many, the partition waits
	// for the first. Default: 10,000.
	MaxAhead int

	// DeadTopic is where refused messages are produced. It must exist. Default: none, they
	// are kept.
	DeadTopic string
	// Horizon is that of the inbox. When it is set, NewConsumer fails unless the topics
	// keep records for less (retention.ms).
	Horizon time.Duration
	// Timeout bounds asking the brokers, putting away a refused message, and leaving the
	// group. Default: 5s.
	Timeout time.Duration
}

func (c ConsumerConfig) resolve() (ConsumerConfig, error) {
	var err error
	if c.Config, err = c.Config.Resolve(); err != nil {
		return c, configError("%w", err)
	}
	switch {
	case len(c.Brokers) == 0:
		return c, configError("Brokers are missing")
	case len(c.Topics) == 0 || slices.Contains(c.Topics, ""):
		return c, configError("Topics are missing")
	case c.Group == "":
		return c, configError("Group is missing")
	case min(c.SessionTimeout, c.RebalanceTimeout, c.Horizon, c.Timeout) < 0 || c.MaxAhead < 0:
		return c, configError("SessionTimeout, RebalanceTimeout, MaxAhead, Horizon and Timeout can't be negative")
	case slices.Contains(c.Topics, c.DeadTopic):
		return c, configError("DeadTopic %q is consumed here: what is refused would come again", c.DeadTopic)
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 45 * time.Second
	}
	if c.RebalanceTimeout == 0 {
		c.RebalanceTimeout = time.Minute
	}
	if c.MaxAhead == 0 {
		c.MaxAhead = 10_000
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return c, nil
}

// check asks the brokers whether the topics are there, and for how long they keep records.
func (c ConsumerConfig) check(ctx context.Context) error {
	client, err := kgo.NewClient(append(slices.Clone(c.Options), kgo.SeedBrokers(c.Brokers...))...)
	if err != nil {
		return configError("%v", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request := kmsg.NewPtrMetadataRequest()
	for _, name := range append(slices.Clone(c.Topics), c.DeadTopic) {
		if name != "" {
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = kmsg.StringPtr(name)
			request.Topics = append(request.Topics, topic)
		}
	}
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("kafka: no broker can be reached: %w", err)
	}
	for i, topic := range answer.Topics {
		switch err := kerr.ErrorForCode(topic.ErrorCode); {
		case err == kerr.UnknownTopicOrPartition: //nolint:errorlint // it is never wrapped
			return configError("there is no topic %s", *request.Topics[i].Topic)
		case err != nil:
			return fmt.Errorf("kafka: topic %s: %w", *request.Topics[i].Topic, err)
		}
	}
	if c.Horizon == 0 {
		return nil
	}
	return c.checkRetention(ctx, client)
}

func (c ConsumerConfig) checkRetention(ctx context.Context, client *kgo.Client) error {
	request := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range c.Topics {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName, resource.ConfigNames = kmsg.ConfigResourceTypeTopic, name, []string{"retention.ms"}
		request.Resources = append(request.Resources, resource)
	}
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("kafka: ask for retention.ms: %w", err)
	}
	for _, topic := range answer.Resources {
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
			return fmt.Errorf("kafka: ask for retention.ms of %s: %w", topic.ResourceName, err)
		}
		found := false
		for _, setting := range topic.Configs {
			if setting.Name != "retention.ms" || setting.Value == nil {
				continue
			}
			found = true
			ms, err := strconv.ParseInt(*setting.Value, 10, 64)
			if err != nil || ms < 0 || ms > c.Horizon.Milliseconds() {
				return configError("topic %s keeps records for %s ms (-1 is for ever), and the Horizon is %v", topic.ResourceName, *setting.Value, c.Horizon)
			}
		}
		if !found {
			return configError("the brokers do not tell for how long topic %s keeps records: the Horizon can't be checked", topic.ResourceName)
		}
	}
	return nil
}

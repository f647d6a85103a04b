package uowtest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

// ConsumerHarness is how the checks reach a consumer, and the broker behind it.
type ConsumerHarness struct {
	// New makes a new, empty queue at the broker and sees to it, by t.Cleanup, that it is
	// removed. Required.
	New func(t testing.TB) Queue

	// Address is where the broker listens for TCP, as "host:port". Checks about broken
	// connections have consumers connect to a link of their own, which forwards to it.
	// Default: none, for what has no connections.
	Address string

	// MaxPayload is the largest payload, in bytes, that the checks send. Default: 1 MiB.
	MaxPayload int

	// Redelivery is after how long the broker delivers a message again which a consumer
	// that is connected neither acknowledges nor extends. Default: none, it never does.
	Redelivery time.Duration

	// Lacks declares what the consumer can not do.
	Lacks ConsumerCapabilities

	// patience is how long to wait for what should come soon. The tests of the kit
	// make it short.
	patience time.Duration
}

// Queue is a stream, topic, queue or whatever else messages are consumed from, by one
// group of consumers.
type Queue struct {
	// Publish stores messages, in order, as the publisher that belongs to the consumer
	// does. Required.
	Publish func(ctx context.Context, batch []outbox.Message) error
	// Garbage stores something that is no message of a publisher. Required.
	Garbage func(ctx context.Context) error
	// Open returns a consumer of the group that connects to the address, Harness.Address
	// or a link to it, and puts what is refused where Dead finds it. It honours the
	// Config. Others of the group run at the same time only where shared is set. The check
	// closes it. Required.
	Open func(ctx context.Context, address string, shared bool, cfg consumer.Config) (ClosingConsumer, error)
	// Waiting returns how many messages the broker has that the group has not
	// acknowledged, whether they were delivered or not. Required.
	Waiting func(ctx context.Context) (int, error)
	// Dead returns what was refused. Required.
	Dead func(ctx context.Context) ([]DeadLetter, error)
}

// DeadLetter is a message that was refused.
type DeadLetter struct {
	// Message is what Decode makes of it.
	Message outbox.Message
	// Reason is the reason that is kept with it.
	Reason string
}

// ClosingConsumer is a consumer with connections of its own. Close may be called again.
type ClosingConsumer interface {
	// Run handles messages until ctx ends.
	Run(ctx context.Context) error
	Close() error
}

// ConsumerCapabilities are what a consumer may lack. Everything else is expected of every
// consumer.
type ConsumerCapabilities struct {
	// Isolation: a message that fails holds up others than those of its key.
	Isolation bool
	// Sharing: which consumer of a group gets a message does not depend on who is free
	// (partitions), so that a few messages may all go to one.
	Sharing bool
	// Selection: messages are not acknowledged one by one: one that is not handled keeps
	// others behind it from being acknowledged (offsets), and they come again with it.
	Selection bool
}

// ConsumerCheck is one check of consumers.
type ConsumerCheck struct {
	// Name begins with the promise's number, or with Consumer.
	Name string
	// Rule is what every consumer must do, in words.
	Rule string

	needs consumerNeed
	run   func(k *consumerKit)
}

type consumerNeed uint8

const (
	linkNeeded consumerNeed = 1 << iota
	redeliveryNeeded
	isolationNeeded
	sharingNeeded
)

// TestConsumer runs all checks against a consumer, but for those of what the harness has
// not or lacks, of which it logs the names. They use the broker for real and take some
// seconds. Effects are those of an inbox on a memory store.
func TestConsumer(t *testing.T, h ConsumerHarness) {
	runAll(t, h, ConsumerChecks())
}

// ConsumerChecks returns all checks, in the order in which TestConsumer runs them.
func ConsumerChecks() []ConsumerCheck {
	return slices.Concat(
		consumerAckChecks(),
		consumerOrderChecks(),
		consumerRefusalChecks(),
		consumerGroupChecks(),
		consumerEndChecks(),
		consumerContentChecks(),
	)
}

// Run runs the check against a consumer.
func (c ConsumerCheck) Run(t testing.TB, h ConsumerHarness) {
	t.Helper()
	c.run(newConsumerKit(t, h, c))
}

// Failures runs the check against a consumer and returns what it found, without failing
// t.
func (c ConsumerCheck) Failures(t testing.TB, h ConsumerHarness) []string {
	t.Helper()
	return record(t, func(t testing.TB) { c.Run(t, h) })
}

func (c ConsumerCheck) words(t testing.TB) words { return words{TB: t, check: c.Name, rule: c.Rule} }

// skip returns why the check does not apply to a consumer; empty when it does.
func (c ConsumerCheck) skip(h ConsumerHarness) string {
	return skipped(c.needs, c.Rule, []lack[consumerNeed]{
		{linkNeeded, h.Address == "", "the harness has no Address"},
		{redeliveryNeeded, h.Redelivery == 0, "the harness has no Redelivery"},
		{isolationNeeded, h.Lacks.Isolation, "the consumer declares that it lacks isolation"},
		{sharingNeeded, h.Lacks.Sharing, "the consumer declares that it lacks sharing"},
	})
}

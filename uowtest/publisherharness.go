package uowtest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay"
)

// PublisherHarness is how the checks reach a publisher, and the broker behind it.
type PublisherHarness struct {
	// New makes a new, empty destination at the broker and sees to it, by t.Cleanup,
	// that it is removed. Required.
	New func(t testing.TB) Destination

	// Address is where the broker listens for TCP, as "host:port". Checks about
	// broken connections have publishers connect to a link of their own, which
	// forwards to it. Default: none, for what has no connections.
	Address string

	// MaxPayload is a payload, in bytes, that publishers take, whereas they refuse one
	// that is twice as large. Default: no limit.
	MaxPayload int

	// Lacks declares what the publisher can not do.
	Lacks PublisherCapabilities

	// patience is how long to wait for what should come soon. The tests of the kit
	// make it short.
	patience time.Duration
}

// Destination is a stream, topic, queue or whatever else messages are published to.
type Destination struct {
	// Open returns a publisher to the destination that connects to the address,
	// Harness.Address or a link to it. The check closes it. Required.
	Open func(ctx context.Context, address string) (ClosingPublisher, error)

	// Stored returns all that the broker holds, in its order, copies included, of
	// which consumers could read the same. It does not use the address that Open was
	// given. Required.
	Stored func(ctx context.Context) ([]outbox.Message, error)

	// Poison makes a message one that the broker, rather than the publisher, does not
	// take, such as one whose topic leads nowhere. Default: none.
	Poison func(m outbox.Message) outbox.Message
}

// ClosingPublisher is a publisher with connections of its own. Close may be called
// again.
type ClosingPublisher interface {
	relays.Publisher
	Close() error
}

// PublisherCapabilities are what a publisher may lack. Everything else is expected of
// every publisher.
type PublisherCapabilities struct {
	// Deduplication: a message that is published again with the same id is stored
	// again.
	Deduplication bool
	// Fields: only id, key, type and payload arrive of a message.
	Fields bool
	// PlainHeaders: headers arrive only where they can be attributes of CloudEvents: their
	// names consist of lower-case letters and digits, and are none of an event's own, and
	// their values are text, and not empty. All others are left out.
	PlainHeaders bool
	// Outages: a broker that is gone is not told from a message that fails: the
	// outcome is Retry rather than Unavailable.
	Outages bool
}

// PublisherCheck is one check of publishers.
type PublisherCheck struct {
	// Name begins with the promise's number, or with Publisher.
	Name string
	// Rule is what every publisher must do, in words.
	Rule string

	needs publisherNeed
	run   func(k *publisherKit)
}

type publisherNeed uint8

const (
	addressNeeded publisherNeed = 1 << iota
	dedupNeeded
	fieldsNeeded
	maxPayloadNeeded
	outagesNeeded
)

// TestPublisher runs all checks against a publisher, but for those of what the harness
// has not or lacks, of which it logs the names. They use the broker for real and take
// some seconds.
func TestPublisher(t *testing.T, h PublisherHarness) {
	runAll(t, h, PublisherChecks())
}

// PublisherChecks returns all checks, in the order in which TestPublisher runs them.
func PublisherChecks() []PublisherCheck {
	return slices.Concat(
		publisherOrderChecks(),
		publisherConfirmChecks(),
		publisherOutageChecks(),
		publisherContentChecks(),
		publisherCloseChecks(),
	)
}

// Run runs the check against a publisher.
func (c PublisherCheck) Run(t testing.TB, h PublisherHarness) {
	t.Helper()
	c.run(newPublisherKit(t, h, c))
}

// Failures runs the check against a publisher and returns what it found, without
// failing t.
func (c PublisherCheck) Failures(t testing.TB, h PublisherHarness) []string {
	t.Helper()
	return record(t, func(t testing.TB) { c.Run(t, h) })
}

func (c PublisherCheck) words(t testing.TB) words { return words{TB: t, check: c.Name, rule: c.Rule} }

// skip returns why the check does not apply to a publisher; empty when it does.
func (c PublisherCheck) skip(h PublisherHarness) string {
	return skipped(c.needs, c.Rule, []lack[publisherNeed]{
		{addressNeeded, h.Address == "", "the harness has no Address"},
		{dedupNeeded, h.Lacks.Deduplication, "the publisher declares that it lacks deduplication"},
		{fieldsNeeded, h.Lacks.Fields, "the publisher declares that it lacks fields"},
		{maxPayloadNeeded, h.MaxPayload == 0, "the harness has no MaxPayload"},
		{outagesNeeded, h.Lacks.Outages, "the publisher declares that it lacks outages"},
	})
}

package uowtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay"
)

// publisherKit is what a check of publishers works with: a new destination, and
// words for failures.
type publisherKit struct {
	brokerKit
	h           PublisherHarness
	destination Destination

	// doubtful are the ids that may have been stored without a confirmation.
	doubtful map[string]bool
	// confirmed are the ids that were.
	confirmed map[string]bool
}

func newPublisherKit(t testing.TB, h PublisherHarness, c PublisherCheck) *publisherKit {
	return &publisherKit{
		brokerKit: newBrokerKit(c.words(t), h.Address, h.patience, random64),
		h:         h, destination: h.New(t),
		doubtful: map[string]bool{}, confirmed: map[string]bool{},
	}
}

// random64 is a payload that no compression makes shorter.
func random64() []byte {
	payload := make([]byte, 64)
	_, _ = rand.Read(payload)
	return payload
}

// open returns a publisher that connects to the broker itself.
func (k *publisherKit) open() ClosingPublisher {
	k.Helper()
	return k.openAt(k.h.Address)
}

func (k *publisherKit) openAt(address string) ClosingPublisher {
	k.Helper()
	p, err := k.destination.Open(k.Context(), address)
	k.must("open a publisher", err)
	k.Cleanup(func() { _ = p.Close() })
	return p
}

// openLinked returns a publisher that connects to a link.
func (k *publisherKit) openLinked() (ClosingPublisher, *link) {
	k.Helper()
	l := k.link()
	p := k.openAt(l.address())
	k.Cleanup(l.cut) // before Close, which a publisher may let wait for an answer
	return p, l
}

// free makes n messages without a key.
func (k *publisherKit) free(first, n int) (batch []outbox.Message) {
	for i := range n {
		m := k.message("free", first+i)
		m.Key = ""
		batch = append(batch, m)
	}
	return batch
}

// publish publishes a batch with a time limit that is not meant to be reached, and
// judges the results.
func (k *publisherKit) publish(p relays.Publisher, batch []outbox.Message) []relays.Result {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), k.patience)
	defer cancel()
	return k.publishIn(ctx, p, batch)
}

func (k *publisherKit) publishIn(ctx context.Context, p relays.Publisher, batch []outbox.Message) []relays.Result {
	k.Helper()
	results := k.start(ctx, p, batch)()
	k.judge(batch, results)
	return results
}

// start publishes in a goroutine of its own; what it returns waits for the results,
// which are not judged.
func (k *publisherKit) start(ctx context.Context, p relays.Publisher, batch []outbox.Message) func() []relays.Result {
	done := make(chan []relays.Result, 1)
	go func() { done <- p.Publish(ctx, batch) }()
	return func() []relays.Result {
		k.Helper()
		results := await(&k.brokerKit, 2*k.patience, "Publish should return when its context has ended", done)
		if len(results) != len(batch) {
			k.broken("a batch of %d messages should have as many results; it has %d", len(batch), len(results))
			k.FailNow()
		}
		return results
	}
}

// judge compares results with what is stored.
func (k *publisherKit) judge(batch []outbox.Message, results []relays.Result) {
	k.Helper()
	k.judgeBy(k.copies(k.stored()), batch, results)
}

func (k *publisherKit) judgeBy(stored map[string]int, batch []outbox.Message, results []relays.Result) {
	k.Helper()
	stopped := map[string]string{} // the outcome that stopped a key
	for i, r := range results {
		m := batch[i]
		before := k.doubtful[m.ID] || k.confirmed[m.ID]
		switch {
		case r.Outcome.Delivered() && stored[m.ID] == 0:
			k.broken("what is called %v must be stored; %s is not", r.Outcome, m.ID)
		case r.Outcome.Delivered() && m.Key != "" && stopped[m.Key] != "":
			k.broken("a key must stop at its first message that is not stored (%s); %s was called %v", stopped[m.Key], m.ID, r.Outcome)
		case !r.Outcome.Delivered() && r.Outcome != relays.Unknown && r.Outcome != relays.Unavailable && stored[m.ID] > 0 && !before:
			k.broken("what is called %v must not be stored; %s is (%v)", r.Outcome, m.ID, r.Err)
		}
		if r.Outcome.Delivered() {
			k.confirmed[m.ID] = true
			continue
		}
		stopped[m.Key] = r.Outcome.String()
		if r.Outcome == relays.Unknown || r.Outcome == relays.Unavailable {
			k.doubtful[m.ID] = true
		}
		if r.Outcome != relays.NotTried && (r.Err == nil || r.Err.Error() == "") {
			k.broken("a result that is %v must say why; that of %s does not", r.Outcome, m.ID)
		}
	}
}

// wantDelivered demands that all of a batch was delivered.
func (k *publisherKit) wantDelivered(batch []outbox.Message, results []relays.Result) {
	k.Helper()
	for i, r := range results {
		if !r.Outcome.Delivered() {
			k.broken("%s should be stored; it is %v (%v)", batch[i].ID, r.Outcome, r.Err)
			return
		}
	}
}

// wantOutcomes demands these outcomes of a batch.
func (k *publisherKit) wantOutcomes(batch []outbox.Message, results []relays.Result, allowed ...[]relays.Outcome) {
	k.Helper()
	for i, r := range results {
		if !slices.Contains(allowed[i], r.Outcome) {
			k.broken("the outcome of %s should be one of %v; it is %v (%v)", batch[i].ID, allowed[i], r.Outcome, r.Err)
		}
	}
}

// stored returns what the broker holds.
func (k *publisherKit) stored() []outbox.Message {
	k.Helper()
	ctx, cancel := k.asking()
	defer cancel()
	all, err := k.destination.Stored(ctx)
	k.must("read what is stored", err)
	return all
}

// copies counts messages by id.
func (k *publisherKit) copies(stored []outbox.Message) map[string]int {
	n := map[string]int{}
	for _, m := range stored {
		n[m.ID]++
	}
	return n
}

// wantStored demands that exactly these messages are stored, each key in its order
// by first arrival, and, where the publisher deduplicates, each of them once.
func (k *publisherKit) wantStored(when string, want []outbox.Message) {
	k.Helper()
	stored := k.stored()
	copies := k.copies(stored)
	for _, m := range want {
		switch n := copies[m.ID]; {
		case n == 0:
			k.broken("%s, %s should be stored, and is not", when, m.ID)
			return
		case n > 1 && !k.h.Lacks.Deduplication:
			k.broken("%s, %s should be stored once; there are %d copies", when, m.ID, n)
			return
		}
		delete(copies, m.ID)
	}
	if len(copies) > 0 {
		k.broken("%s, nothing else should be stored; there is %v", when, slices.Sorted(maps.Keys(copies)))
	}
	got, order := idsByKey(stored), idsByKey(want)
	for key := range order {
		if key != "" && !slices.Equal(got[key], order[key]) {
			k.broken("%s, the key %s should be stored as %v; it is %v", when, key, order[key], got[key])
		}
	}
}

// different says in what a message has changed on its way; empty when it has not.
func different(sent, got outbox.Message) string {
	var all []string
	for _, field := range []struct {
		name      string
		sent, got any
	}{
		{"ID", sent.ID, got.ID},
		{"Topic", sent.Topic, got.Topic},
		{"Key", sent.Key, got.Key},
		{"Type", sent.Type, got.Type},
		{"AggregateType", sent.AggregateType, got.AggregateType},
		{"AggregateID", sent.AggregateID, got.AggregateID},
		{"Sequence", sent.Sequence, got.Sequence},
		{"CreatedAt", sent.CreatedAt.UnixMicro(), got.CreatedAt.UnixMicro()},
	} {
		if field.sent != field.got {
			all = append(all, fmt.Sprintf("%s was %v and is %v", field.name, field.sent, field.got))
		}
	}
	if !maps.Equal(sent.Headers, got.Headers) {
		all = append(all, fmt.Sprintf("Headers were %q and are %q", sent.Headers, got.Headers))
	}
	if !bytes.Equal(sent.Payload, got.Payload) {
		all = append(all, fmt.Sprintf("Payload had %d bytes and has %d, which differ", len(sent.Payload), len(got.Payload)))
	}
	return strings.Join(all, "; ")
}

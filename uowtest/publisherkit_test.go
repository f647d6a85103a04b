package uowtest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay"
)

// TestSoundPublisher runs all checks against a publisher without a fault.
func TestSoundPublisher(t *testing.T) { TestPublisher(t, newPublisherHarness(t, publisherFault{})) }

// TestFunctionForEachMessage runs the checks that need no connection against a function
// for one message, by relay.Each.
func TestFunctionForEachMessage(t *testing.T) {
	TestPublisher(t, PublisherHarness{MaxPayload: fakeMaxPayload, New: func(t testing.TB) Destination {
		b := newFakeBroker(t, publisherFault{})
		var closed atomic.Bool
		each := relays.Each(func(_ context.Context, m outbox.Message) relays.Result {
			if closed.Load() {
				return relays.Result{Outcome: relays.Unavailable, Err: errors.New("closed")}
			}
			r := relays.Result{Outcome: b.store([]outbox.Message{m})[0]}
			if !r.Outcome.Delivered() {
				r.Err = errors.New("too large, or without a way")
			}
			return r
		}, 10)
		return Destination{
			Open: func(context.Context, string) (ClosingPublisher, error) { return closing{each, &closed}, nil },
			Stored: func(context.Context) ([]outbox.Message, error) {
				b.mu.Lock()
				defer b.mu.Unlock()
				return slices.Clone(b.stored), nil
			},
			Poison: func(m outbox.Message) outbox.Message {
				m.Topic = fakePoison
				return m
			},
		}
	}})
}

type closing struct {
	relays.Publisher
	closed *atomic.Bool
}

func (c closing) Close() error {
	c.closed.Store(true)
	return nil
}

func TestPublisherNames(t *testing.T) {
	testNames[PublisherHarness](t, PublisherChecks(), `^(P[0-9]{2}_publisher|Publisher)_[a-z0-9_]+$`)
}

// TestPublisherLacks demands that what a publisher lacks is reported, and nothing
// else.
func TestPublisherLacks(t *testing.T) {
	none := PublisherHarness{Lacks: PublisherCapabilities{Deduplication: true, Fields: true, PlainHeaders: true, Outages: true}}
	all := PublisherHarness{Address: "127.0.0.1:1", MaxPayload: 1}
	testLacks(t, PublisherChecks(), none, all, func(c PublisherCheck) bool { return c.needs != 0 })
}

// TestEachPublisherCheckCanFail breaks the publisher in each way, and demands that
// the check which guards against it fails.
func TestEachPublisherCheckCanFail(t *testing.T) {
	testEachCanFail(t, PublisherChecks(), publisherBreakages(), func(t *testing.T, how publisherFault) PublisherHarness {
		t.Parallel() // they wait for what does not come
		h := newPublisherHarness(t, how)
		h.patience = time.Second
		return h
	})
}

func publisherBreakages() []breakage[publisherFault] {
	stored, retry, refused := relays.Stored, relays.Retry, relays.Refused
	return []breakage[publisherFault]{
		{"Publisher_one_result_per_message", "drops the last result", publisherFault{publish: dropsLastResult}},
		{"Publisher_one_result_per_message", "takes a thousand messages at most", publisherFault{store: storesThousand}},
		{"P21_publisher_keeps_the_order_of_keys", "stores a batch in reverse", publisherFault{store: storesInReverse}},
		{"P21_publisher_keeps_the_order_of_keys", "stores a batch before those of before", publisherFault{store: storesInFront}},
		{"P21_publisher_stops_a_key_at_a_failure", "goes on in the key", publisherFault{store: storesOn}},
		{"P21_publisher_stops_a_key_at_a_failure", "stops at any failure", publisherFault{store: stopsAll}},
		{"P21_publisher_repeats_from_an_earlier_message", "takes a batch for a duplicate that begins with one", publisherFault{store: dedupsBatches}},
		{"P21_publisher_keeps_order_in_several_goroutines", "answers stored while another call is running", publisherFault{publish: answersBesides}},

		{"P20_publisher_awaits_the_confirmation", "sends and forgets", publisherFault{publish: forgets}},
		{"P20_publisher_calls_a_lost_answer_unknown", "ignores its context", publisherFault{publish: ignoresPublishContext}},
		{"P20_publisher_calls_a_lost_answer_unknown", "says that it did not try", publisherFault{publish: deniesAll}},
		{"P20_publisher_calls_a_lost_answer_unknown", "calls a lost answer a retry", publisherFault{lost: &retry}},
		{"Publisher_sends_nothing_after_its_context", "ignores its context", publisherFault{publish: ignoresPublishContext}},
		{"P20_publisher_deduplicates", "stores each copy", publisherFault{store: storesCopies}},
		{"P20_publisher_deduplicates", "takes a batch for a duplicate that begins with one", publisherFault{store: dedupsBatches}},

		{"Publisher_is_unavailable_while_the_broker_is", "calls an outage a retry", publisherFault{gone: &retry}},
		{"Publisher_is_unavailable_while_the_broker_is", "refuses in an outage", publisherFault{gone: &refused}},
		{"Publisher_is_unavailable_while_the_broker_is", "calls an outage stored", publisherFault{gone: &stored}},
		{"Publisher_comes_back_with_the_broker", "does not connect again", publisherFault{forever: true}},
		{"P20_publisher_loses_nothing_when_connections_break", "calls a lost answer stored", publisherFault{lost: &stored}},
		{"P20_publisher_loses_nothing_when_connections_break", "stores each copy", publisherFault{store: storesCopies}},
		{"P20_publisher_loses_nothing_when_connections_break", "does not connect again", publisherFault{forever: true}},

		{"Publisher_payloads_arrive_unchanged", "cuts at zeros", publisherFault{change: cutsAtZero}},
		{"Publisher_payloads_arrive_unchanged", "makes text of payloads", publisherFault{change: makesText}},
		{"Publisher_refuses_what_is_too_large", "tries it again", publisherFault{store: retriesTooLarge}},
		{"Publisher_refuses_what_is_too_large", "stores the beginning", publisherFault{change: cutsTooLarge}},
		{"Publisher_fields_arrive", "drops headers", publisherFault{change: func(m outbox.Message) outbox.Message { m.Headers = nil; return m }}},
		{"Publisher_fields_arrive", "drops the time", publisherFault{change: func(m outbox.Message) outbox.Message { m.CreatedAt = time.Time{}; return m }}},
		{"Publisher_fields_arrive", "lets headers change fields", publisherFault{change: headersChangeFields}},
		{"Publisher_headers_are_no_way_in", "writes headers as they are", publisherFault{change: splitsHeaders}},
		{"Publisher_headers_are_no_way_in", "trims values", publisherFault{change: trimsHeaders}},

		{"P18_publisher_leaves_nothing_behind", "leaves its connection open", publisherFault{close: func(*fakePublisher) error { return nil }}},
		{"P18_publisher_leaves_nothing_behind", "leaves a goroutine", publisherFault{publish: leavesGoroutine}},
		{"Publisher_closed", "publishes on", publisherFault{close: func(*fakePublisher) error { return nil }}},
		{"Publisher_closed", "fails when it is closed again", publisherFault{close: closesOnce}},
		{"Publisher_closed_while_publishing", "waits for the answer", publisherFault{close: closesLate}},
	}
}

func dropsLastResult(ctx context.Context, p *fakePublisher, batch []outbox.Message) []relays.Result {
	results := p.publishSoundly(ctx, batch)
	return results[:max(len(results)-1, 0)]
}

func storesThousand(b *fakeBroker, batch []outbox.Message) []relays.Outcome {
	outcomes := b.storeSoundly(batch[:min(len(batch), 1000)])
	for len(outcomes) < len(batch) {
		outcomes = append(outcomes, relays.Stored)
	}
	return outcomes
}

func storesInReverse(b *fakeBroker, batch []outbox.Message) []relays.Outcome {
	outcomes := make([]relays.Outcome, len(batch))
	for i := len(batch) - 1; i >= 0; i-- {
		outcomes[i] = b.storeSoundly(batch[i : i+1])[0]
	}
	return outcomes
}

func storesInFront(b *fakeBroker, batch []outbox.Message) []relays.Outcome {
	before := b.stored
	b.stored = nil
	outcomes := b.storeSoundly(batch)
	b.stored = append(b.stored, before...)
	return outcomes
}

func storesOn(b *fakeBroker, batch []outbox.Message) (outcomes []relays.Outcome) {
	for i := range batch {
		outcomes = append(outcomes, b.storeSoundly(batch[i:i+1])...)
	}
	return outcomes
}

func stopsAll(b *fakeBroker, batch []outbox.Message) (outcomes []relays.Outcome) {
	for i := range batch {
		o := b.storeSoundly(batch[i : i+1])[0]
		if outcomes = append(outcomes, o); !o.Delivered() {
			break
		}
	}
	for len(outcomes) < len(batch) {
		outcomes = append(outcomes, relays.NotTried)
	}
	return outcomes
}

func dedupsBatches(b *fakeBroker, batch []outbox.Message) []relays.Outcome {
	if len(batch) > 0 && b.ids[batch[0].ID] {
		outcomes := make([]relays.Outcome, len(batch))
		for i := range outcomes {
			outcomes[i] = relays.Duplicate
		}
		return outcomes
	}
	return b.storeSoundly(batch)
}

func storesCopies(b *fakeBroker, batch []outbox.Message) []relays.Outcome {
	clear(b.ids)
	return b.storeSoundly(batch)
}

func retriesTooLarge(b *fakeBroker, batch []outbox.Message) []relays.Outcome {
	outcomes := b.storeSoundly(batch)
	for i, o := range outcomes {
		if o == relays.Refused {
			outcomes[i] = relays.Retry
		}
	}
	return outcomes
}

func answersBesides(ctx context.Context, p *fakePublisher, batch []outbox.Message) []relays.Result {
	if !p.mu.TryLock() {
		return allAre(batch, relays.Stored, nil)
	}
	p.mu.Unlock()
	return p.publishSoundly(ctx, batch)
}

// forgets answers when it has written.
func forgets(ctx context.Context, p *fakePublisher, batch []outbox.Message) []relays.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.connect(ctx); err != nil {
		return allAre(batch, relays.Unavailable, err)
	}
	if err := p.out.Encode(batch); err != nil {
		return allAre(batch, relays.Unknown, err)
	}
	go func(in interface{ Decode(any) error }) { // the answer is read and thrown away
		var ignored []relays.Outcome
		_ = in.Decode(&ignored)
	}(p.in)
	return allAre(batch, relays.Stored, nil)
}

func ignoresPublishContext(_ context.Context, p *fakePublisher, batch []outbox.Message) []relays.Result {
	return p.publishSoundly(context.Background(), batch)
}

func deniesAll(ctx context.Context, p *fakePublisher, batch []outbox.Message) []relays.Result {
	results := p.publishSoundly(ctx, batch)
	for i := range results {
		if results[i].Outcome == relays.Unknown {
			results[i].Outcome = relays.NotTried
		}
	}
	return results
}

func leavesGoroutine(ctx context.Context, p *fakePublisher, batch []outbox.Message) []relays.Result {
	go func() { <-time.After(5 * time.Second) }()
	return p.publishSoundly(ctx, batch)
}

func cutsAtZero(m outbox.Message) outbox.Message {
	before, _, _ := strings.Cut(string(m.Payload), "\x00")
	m.Payload = []byte(before)
	return m
}

func makesText(m outbox.Message) outbox.Message {
	m.Payload = []byte(strings.ToValidUTF8(string(m.Payload), "?"))
	return m
}

func cutsTooLarge(m outbox.Message) outbox.Message {
	m.Payload = m.Payload[:min(len(m.Payload), fakeMaxPayload)]
	return m
}

func headersChangeFields(m outbox.Message) outbox.Message {
	if s := m.Headers["subject"]; s != "" {
		m.AggregateID = s
	}
	return m
}

func splitsHeaders(m outbox.Message) outbox.Message {
	m.Headers = maps.Clone(m.Headers)
	for name, value := range m.Headers {
		if before, after, ok := strings.Cut(value, "\r\n"); ok {
			m.Headers[name] = before
			injected, with, _ := strings.Cut(after, ": ")
			m.Headers[injected] = with
		}
	}
	return m
}

func trimsHeaders(m outbox.Message) outbox.Message {
	m.Headers = maps.Clone(m.Headers)
	for name, value := range m.Headers {
		m.Headers[name] = strings.TrimSpace(value)
	}
	return m
}

// closesOnce fails the second time.
func closesOnce(p *fakePublisher) error {
	if p.closes.Err() != nil {
		return errors.New("fake: closed already")
	}
	p.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.conn.Close()
}

// closesLate waits for what is under way.
func closesLate(p *fakePublisher) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

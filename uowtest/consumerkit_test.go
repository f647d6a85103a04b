package uowtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

// TestSoundConsumer runs all checks against a consumer without a fault.
func TestSoundConsumer(t *testing.T) { TestConsumer(t, newConsumerHarness(t, consumerFault{})) }

func TestConsumerNames(t *testing.T) {
	testNames[ConsumerHarness](t, ConsumerChecks(), `^(P[0-9]{2}_consumer|Consumer)_[a-z0-9_]+$`)
}

// TestConsumerLacks demands that what a consumer lacks is reported, and nothing else.
func TestConsumerLacks(t *testing.T) {
	none := ConsumerHarness{Lacks: ConsumerCapabilities{Isolation: true, Sharing: true}}
	all := ConsumerHarness{Address: "127.0.0.1:1", Redelivery: 1}
	testLacks(t, ConsumerChecks(), none, all, func(c ConsumerCheck) bool { return c.needs != 0 })
}

// TestEachConsumerCheckCanFail breaks the consumer in each way, and demands that the check
// which guards against it fails.
func TestEachConsumerCheckCanFail(t *testing.T) {
	testEachCanFail(t, ConsumerChecks(), consumerBreakages(), func(t *testing.T, how consumerFault) ConsumerHarness {
		t.Parallel() // they wait for what does not come
		h := newConsumerHarness(t, how)
		h.patience = 2 * time.Second
		return h
	})
}

func consumerBreakages() []breakage[consumerFault] {
	return []breakage[consumerFault]{
		{"P24_consumer_acknowledges_after_the_commit", "acknowledges what it receives", consumerFault{received: acksAtOnce, ack: acksNothing}},
		{"P24_consumer_acknowledges_after_the_commit", "never acknowledges", consumerFault{ack: acksNothing}},
		{"P24_consumer_tries_again", "acknowledges failures", consumerFault{config: ignoresFailures}},
		{"P24_consumer_tries_again", "dies of a panic", consumerFault{config: refusesFailures}},
		{"P24_consumer_dies_before_the_acknowledgement", "acknowledges what it receives", consumerFault{received: acksAtOnce, ack: acksNothing}},
		{"P24_consumer_goes_on_after_a_cut", "does not connect again", consumerFault{receive: receivesOnce}},
		{"P24_consumer_duplicates_have_one_effect", "gives each delivery an id", consumerFault{received: renames}},
		{"P24_consumer_slow_handlers_are_waited_for", "extends nothing", consumerFault{extend: extendsNothing}},

		{"P24_consumer_keeps_the_order_of_keys", "reverses what it receives", consumerFault{received: reverses}},
		{"P24_consumer_keeps_the_order_of_keys", "knows no keys", consumerFault{received: forgetsKeys, config: remembersKeys}},
		{"P24_consumer_handles_keys_at_once", "handles one at a time", consumerFault{config: handlesOne}},
		{"P24_consumer_handles_keys_at_once", "handles all at once", consumerFault{config: handlesAll}},
		{"P24_consumer_failing_key_holds_itself_only", "has one order for all", consumerFault{received: joinsKeys, config: remembersKeys}},
		{"P24_consumer_failing_key_holds_itself_only", "goes on in the key", consumerFault{received: forgetsKeys, config: remembersKeys}},

		{"P24_consumer_puts_away_what_is_refused", "throws it away", consumerFault{refuse: throwsAway}},
		{"P24_consumer_puts_away_what_is_refused", "tells no reason", consumerFault{refuse: tellsNoReason}},
		{"P24_consumer_puts_away_what_is_refused", "tries it again", consumerFault{config: refusesNothing}},
		{"P24_consumer_gives_up_after_so_many_attempts", "never gives up", consumerFault{config: neverGivesUp}},
		{"P24_consumer_gives_up_after_so_many_attempts", "throws it away", consumerFault{refuse: throwsAway}},
		{"P24_consumer_puts_away_what_is_malformed", "drops it", consumerFault{received: dropsGarbage}},
		{"P24_consumer_puts_away_what_is_malformed", "stops at it", consumerFault{received: stopsAtGarbage}},
		{"P24_consumer_refuses_and_loses_nothing", "throws it away", consumerFault{refuse: throwsAway}},
		{"P24_consumer_refuses_and_loses_nothing", "does not connect again", consumerFault{receive: receivesOnce}},

		{"P24_consumer_group_shares_and_takes_over", "acknowledges what it receives", consumerFault{received: acksAtOnce, ack: acksNothing}},
		{"P24_consumer_group_shares_and_takes_over", "lets one consumer have all", consumerFault{receive: receivesAlone()}},
		{"P24_consumer_group_changes", "loses what it receives at first", consumerFault{received: losesFirst}},
		{"P24_consumer_group_changes", "does not end", consumerFault{run: endsByCloseAlone}},
		{"P24_consumer_takes_no_more_than_it_may", "takes all that there is", consumerFault{config: takesAll}},

		{"P24_consumer_drains", "ends the handler at once", consumerFault{config: drainsNot}},
		{"P24_consumer_drains", "handles all that it has", consumerFault{run: runsOn}},
		{"P24_consumer_drains", "acknowledges the rest", consumerFault{giveBack: acksAll}},
		{"P24_consumer_bounds_its_end", "waits for ever", consumerFault{config: drainsForEver}},
		{"P18_consumer_leaves_nothing_behind", "leaves its connection open", consumerFault{close: closesNot}},
		{"P18_consumer_leaves_nothing_behind", "leaves a goroutine", consumerFault{received: leavesRoutine}},
		{"Consumer_messages_arrive_unchanged", "drops headers", consumerFault{received: changing(func(m *outbox.Message) { m.Headers = nil })}},
		{"Consumer_messages_arrive_unchanged", "makes text of payloads", consumerFault{received: changing(func(m *outbox.Message) { m.Payload = []byte(strings.ToValidUTF8(string(m.Payload), "?")) })}},
		{"Consumer_messages_arrive_unchanged", "cuts payloads", consumerFault{received: changing(func(m *outbox.Message) { m.Payload = m.Payload[:min(len(m.Payload), 1<<16)] })}},
	}
}

func acksAtOnce(s *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
	_ = s.say("ack", "", all...)
	return all
}

func acksNothing(*fakeSource, *consumer.Delivery) error                { return nil }
func extendsNothing(*fakeSource, []*consumer.Delivery) error           { return nil }
func acksAll(s *fakeSource, held []*consumer.Delivery) error           { return s.say("ack", "", held...) }
func closesNot(c *fakeConsumer) error                                  { c.Runner.Close(); return nil }
func handlesOne(cfg *consumer.Config)                                  { cfg.Concurrency = 1 }
func handlesAll(cfg *consumer.Config)                                  { cfg.Concurrency = 100 }
func neverGivesUp(cfg *consumer.Config)                                { cfg.MaxAttempts = -1 }
func takesAll(cfg *consumer.Config)                                    { cfg.Prefetch = 1000 }
func drainsNot(cfg *consumer.Config)                                   { cfg.DrainTimeout = 1 }
func drainsForEver(cfg *consumer.Config)                               { cfg.DrainTimeout = time.Hour }
func throwsAway(s *fakeSource, d *consumer.Delivery, _ error) error    { return s.say("ack", "", d) }
func tellsNoReason(s *fakeSource, d *consumer.Delivery, _ error) error { return s.say("refuse", "", d) }

// ignoresFailures takes any end of a handler for a success.
func ignoresFailures(cfg *consumer.Config) {
	handle := cfg.Handle
	cfg.Handle = func(ctx context.Context, m consumer.Message) error {
		defer func() { _ = recover() }()
		_ = handle(ctx, m)
		return nil
	}
}

// refusesFailures takes any failure for the last.
func refusesFailures(cfg *consumer.Config) { cfg.MaxAttempts = 1 }

func refusesNothing(cfg *consumer.Config) {
	handle := cfg.Handle
	cfg.Handle = func(ctx context.Context, m consumer.Message) error {
		if err := handle(ctx, m); err != nil {
			return errors.New(err.Error())
		}
		return nil
	}
}

// receivesOnce does not connect again.
func receivesOnce(ctx context.Context, s *fakeSource, limit int) ([]*consumer.Delivery, error) {
	s.mu.Lock()
	lost := s.conn == nil && s.in != nil
	s.mu.Unlock()
	if lost {
		<-ctx.Done()
		return nil, nil
	}
	return s.receiveSoundly(ctx, limit)
}

// receivesAlone lets the first consumer have all, as long as it lives.
func receivesAlone() func(ctx context.Context, s *fakeSource, limit int) ([]*consumer.Delivery, error) {
	var first atomic.Pointer[fakeSource]
	return func(ctx context.Context, s *fakeSource, limit int) ([]*consumer.Delivery, error) {
		if first.CompareAndSwap(nil, s) || first.Load() == s {
			return s.receiveSoundly(ctx, limit)
		}
		<-ctx.Done()
		return nil, nil
	}
}

func renames(_ *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
	for _, d := range all {
		d.Message.ID += "-" + strings.Repeat("x", d.Token.(int))
	}
	return all
}

func reverses(_ *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
	slices.Reverse(all)
	return all
}

// forgetsKeys hides keys from the order, and remembersKeys has handlers see them.
func forgetsKeys(_ *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
	for _, d := range all {
		d.Message.Topic, d.Message.Key = d.Message.Key, ""
	}
	return all
}

// joinsKeys has one order for all keys.
func joinsKeys(_ *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
	for _, d := range all {
		d.Message.Topic, d.Message.Key = d.Message.Key, "all"
	}
	return all
}

func remembersKeys(cfg *consumer.Config) {
	handle := cfg.Handle
	cfg.Handle = func(ctx context.Context, m consumer.Message) error {
		m.Key = m.Topic
		return handle(ctx, m)
	}
}

func dropsGarbage(s *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
	return slices.DeleteFunc(all, func(d *consumer.Delivery) bool {
		if d.Malformed != nil {
			_ = s.say("ack", "", d)
		}
		return d.Malformed != nil
	})
}

func stopsAtGarbage(_ *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
	if i := slices.IndexFunc(all, func(d *consumer.Delivery) bool { return d.Malformed != nil }); i >= 0 {
		return all[:i]
	}
	return all
}

// runsOn ends half a second late.
func runsOn(ctx context.Context, c *fakeConsumer) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var done sync.WaitGroup
	done.Go(func() {
		<-ctx.Done()
		<-time.After(500 * time.Millisecond)
		cancel()
	})
	defer done.Wait()
	return c.Runner.Run(inner)
}

// losesFirst acknowledges the first of what comes, and drops it.
func losesFirst(s *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
	_ = s.say("ack", "", all[0])
	return all[1:]
}

// endsByCloseAlone ends by Close alone.
func endsByCloseAlone(ctx context.Context, c *fakeConsumer) error {
	return c.Runner.Run(context.WithoutCancel(ctx))
}

func leavesRoutine(_ *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
	go func() { <-time.After(10 * time.Second) }()
	return all
}

func changing(change func(m *outbox.Message)) func(s *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
	return func(_ *fakeSource, all []*consumer.Delivery) []*consumer.Delivery {
		for _, d := range all {
			change(&d.Message.Message)
		}
		return all
	}
}

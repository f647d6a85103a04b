package uowtest

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

// errFail is the failure of an attempt, on purpose.
var errFail = errors.New("the handler fails on purpose")

func consumerAckChecks() []ConsumerCheck {
	return []ConsumerCheck{
		{
			Name: "P24_consumer_acknowledges_after_the_commit",
			Rule: "a message must not be acknowledged before its handler has committed, nor after one that failed",
			run:  consumerAcksAfterCommit,
		},
		{
			Name: "P24_consumer_tries_again",
			Rule: "a message whose handler failed, panicked or ended its goroutine must be handled again, and acknowledged then",
			run:  consumerTriesAgain,
		},
		{
			Name:  "P24_consumer_dies_before_the_acknowledgement",
			Rule:  "a message whose acknowledgement is lost must be delivered again, and take effect once",
			needs: linkNeeded,
			run:   consumerDiesBeforeAck,
		},
		{
			Name:  "P24_consumer_goes_on_after_a_cut",
			Rule:  "when its connection breaks the consumer must connect again, and all take effect once, in the order of their keys",
			needs: linkNeeded,
			run:   consumerGoesOnAfterCut,
		},
		{
			Name: "P24_consumer_duplicates_have_one_effect",
			Rule: "a message that is stored twice must take effect once, and both be acknowledged",
			run:  consumerDuplicates,
		},
		{
			Name:  "P24_consumer_slow_handlers_are_waited_for",
			Rule:  "while a message is being handled, or waits to be tried again, nobody else must get it",
			needs: redeliveryNeeded,
			run:   consumerSlow,
		},
	}
}

func consumerAcksAfterCommit(k *consumerKit) {
	entered, leave := newGate(), newGate()
	var failed atomic.Bool
	slow := k.message("slow", 0)
	r := k.consume(k.h.Address, hooks{
		inside: func(ctx context.Context, m consumer.Message) error {
			if m.ID != slow.ID {
				return nil
			}
			if !failed.Swap(true) {
				return errFail
			}
			entered.open()
			return leave.pass(ctx)
		},
	})
	k.publish(slow)
	k.await("a message that failed should be handled again", entered.c)
	others := k.spread("other", 5)
	for i, m := range others { // one after the other: the broker has seen what was sent before
		k.publish(m)
		if !k.eventually(func() bool { return k.has(others[:i+1]) && (k.h.Lacks.Selection || k.waiting() <= 1) }) {
			k.broken("messages beside one that is slow should be handled, and acknowledged; %d are not", k.waiting())
		}
	}
	if n := k.waiting(); n == 0 || n > 1 && !k.h.Lacks.Selection {
		k.broken("one message should not be acknowledged while it is handled; there are %d", n)
	}
	leave.open()
	k.wantEffects("when the handler has ended", append(others, slow))
	r.stop()
}

func consumerTriesAgain(k *consumerKit) {
	batch := k.spread("again", 4)
	r := k.consume(k.h.Address, hooks{
		before: func(_ context.Context, m consumer.Message) error {
			if k.times(m.Message) > 2 {
				return nil
			}
			switch m.Key {
			case "again0":
				return errFail
			case "again1":
				panic("the handler panics on purpose") //nolint:forbidigo // it is what handlers may do
			case "again2":
				runtime.Goexit()
			}
			return nil
		},
		after: func(m consumer.Message) error {
			if m.Key == "again3" && k.times(m.Message) <= 2 {
				return errFail // after the commit: the next attempt is a duplicate
			}
			return nil
		},
	})
	k.publish(batch...)
	k.wantEffects("after failures", batch)
	for _, m := range batch {
		if n := k.times(m); n < 3 {
			k.broken("%s should be handled three times; it was %d times", m.ID, n)
		}
	}
	r.stop()
}

func consumerDiesBeforeAck(k *consumerKit) {
	l := k.link()
	batch := k.messages(0, 3, "a", "b", "c")
	committed := newGate()
	first := k.consume(l.address(), hooks{after: func(consumer.Message) error {
		l.refuse() // before the acknowledgement
		committed.open()
		return nil
	}})
	k.publish(batch...)
	k.await("a message should be handled", committed.c)
	first.stop()
	_ = first.c.Close()
	before := k.effects()
	if len(before) == 0 {
		k.broken("a handler that returned should have had its effect")
	}
	if k.waiting() == 0 {
		k.broken("nothing should be acknowledged without a connection; all is")
	}
	second := k.consume(k.h.Address, hooks{})
	k.wantEffects("after the death", batch)
	again := 0
	for _, ids := range before {
		for _, id := range ids {
			k.mu.Lock()
			again += k.began[id] - 1
			k.mu.Unlock()
		}
	}
	if again == 0 {
		k.broken("what was not acknowledged should be delivered again; nothing was")
	}
	second.stop()
}

func consumerGoesOnAfterCut(k *consumerKit) {
	l := k.link()
	const cuts = 4
	batch := k.messages(0, 12, "a", "b", "c")
	var n atomic.Int64
	r := k.consume(l.address(), hooks{after: func(consumer.Message) error {
		if n.Add(1)%8 == 4 && n.Load() < 8*cuts {
			l.cut()
		}
		return nil
	}})
	k.publish(batch...)
	k.wantEffects("after the connection broke some times", batch)
	r.stop()
}

func consumerDuplicates(k *consumerKit) {
	m := k.message("twice", 0)
	r := k.consume(k.h.Address, hooks{})
	k.publish(m)
	k.publish(m)
	k.wantEffects("after a message was published twice", k.messages(0, 1, "twice"))
	r.stop()
}

func consumerSlow(k *consumerKit) {
	slow, failing := k.message("slow", 0), k.message("failing", 0)
	entered, leave := newGate(), newGate()
	handle := hooks{
		shared: true,
		before: func(ctx context.Context, m consumer.Message) error {
			if m.ID == failing.ID && k.times(failing) == 1 {
				return errFail
			}
			if m.ID == slow.ID {
				entered.open()
				return leave.pass(ctx)
			}
			return nil
		},
		change: func(cfg *consumer.Config) {
			cfg.Backoff.Min, cfg.Backoff.Max, cfg.Backoff.Jitter = 3*k.h.Redelivery, 3*k.h.Redelivery, -1
		},
	}
	first, second := k.consume(k.h.Address, handle), k.consume(k.h.Address, handle)
	k.publish(slow, failing)
	k.await("the message should be handled", entered.c)
	if !k.eventually(func() bool { return k.has([]outbox.Message{failing}) }) {
		k.broken("the message that failed should be handled again")
	}
	// By now the broker would have delivered them again.
	leave.open()
	k.wantEffects("after a slow handler", []outbox.Message{slow, failing})
	if n := k.times(slow); n != 1 {
		k.broken("a message that is being handled should not be delivered; it was %d times", n)
	}
	if n := k.times(failing); n != 2 {
		k.broken("a message that waits should be tried twice; it was %d times", n)
	}
	first.stop()
	second.stop()
}

package uowtest

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

func consumerGroupChecks() []ConsumerCheck {
	return []ConsumerCheck{
		{
			Name:  "P24_consumer_group_shares_and_takes_over",
			Rule:  "two consumers of a group must share the messages, and those of one that dies be the other's",
			needs: linkNeeded,
			run:   consumerTakesOver,
		},
		{
			Name: "P24_consumer_group_changes",
			Rule: "when consumers of a group come and go nothing must be lost, and nothing wait longer than for their end",
			run:  consumerChanges,
		},
		{
			Name:  "P24_consumer_takes_no_more_than_it_may",
			Rule:  "a consumer that is stuck must have taken no more than Prefetch messages, and leave the rest to others",
			needs: sharingNeeded,
			run:   consumerBounded,
		},
	}
}

func consumerTakesOver(k *consumerKit) {
	l := k.link()
	var dead atomic.Bool
	var byFirst, bySecond atomic.Int64
	stuck, killed := newGate(), newGate()
	first := k.consume(l.address(), hooks{shared: true, before: func(ctx context.Context, _ consumer.Message) error {
		byFirst.Add(1)
		if !dead.Load() {
			return nil
		}
		stuck.open()
		if err := killed.pass(ctx); err != nil {
			return err
		}
		return errFail // nothing of a dead consumer takes effect
	}})
	second := k.consume(k.h.Address, hooks{shared: true, before: func(context.Context, consumer.Message) error {
		bySecond.Add(1)
		return nil
	}})
	var all []outbox.Message
	more := func(when string, until func() bool) {
		if !k.eventually(func() bool {
			if until() {
				return true
			}
			batch := k.spread(fmt.Sprint("share", len(all), "-"), 2)
			all = append(all, batch...)
			k.publish(batch...)
			return false
		}) {
			k.broken("%s: the first has handled %d, the second %d of %d", when, byFirst.Load(), bySecond.Load(), len(all))
			k.FailNow()
		}
	}
	more("both should get messages", func() bool { return byFirst.Load() > 0 && bySecond.Load() > 0 })
	dead.Store(true)
	more("the first should get messages still", func() bool {
		select {
		case <-stuck.c:
			return true
		default:
			return false
		}
	})
	l.refuse()
	killed.open()
	first.stop()
	_ = first.c.Close()
	k.wantEffects("when one of two has died", all)
	second.stop()
}

func consumerChanges(k *consumerKit) {
	var all []outbox.Message
	var last *consuming
	for round := range 4 {
		some := newGate()
		next := k.consume(k.h.Address, hooks{shared: true, after: func(consumer.Message) error {
			some.open()
			return nil
		}})
		more := func() {
			batch := k.spread(fmt.Sprint("change", round, "-", len(all), "-"), 5)
			all = append(all, batch...)
			k.publish(batch...)
		}
		more()
		if last != nil {
			last.stop() // while messages are on their way to it
			_ = last.c.Close()
		}
		more()
		k.await("the consumer that is left should get messages", some.c)
		last = next
	}
	k.wantEffects("after consumers came and went", all)
	last.stop()
}

func consumerBounded(k *consumerKit) {
	const prefetch = 4
	stuck, leave := newGate(), newGate()
	first := k.consume(k.h.Address, hooks{
		shared: true,
		before: func(ctx context.Context, _ consumer.Message) error {
			stuck.open()
			return leave.pass(ctx)
		},
		change: func(cfg *consumer.Config) { cfg.Prefetch, cfg.Concurrency = prefetch, 2 },
	})
	batch := k.spread("many", 40)
	k.publish(batch...)
	k.await("a message should be handled", stuck.c)
	second := k.consume(k.h.Address, hooks{shared: true})
	done := 0
	if !k.eventually(func() bool { done = len(k.effects()); return done >= len(batch)-prefetch }) {
		k.broken("the other should handle %d messages; it has handled %d", len(batch)-prefetch, done)
	}
	leave.open()
	k.wantEffects("in the end", batch)
	first.stop()
	second.stop()
}

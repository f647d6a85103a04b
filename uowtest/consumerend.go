package uowtest

import (
	"context"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

func consumerEndChecks() []ConsumerCheck {
	return []ConsumerCheck{
		{
			Name: "P24_consumer_drains",
			Rule: "when its context ends, the consumer must begin nothing new, let the handler finish, acknowledge that, and give back the rest",
			run:  consumerDrains,
		},
		{
			Name: "P24_consumer_bounds_its_end",
			Rule: "a handler that goes on after DrainTimeout must have its context ended, and its message come again",
			run:  consumerBoundsEnd,
		},
		{
			Name: "P18_consumer_leaves_nothing_behind",
			Rule: "after Close no goroutine and no connection of the consumer may be left, and Run returns at once",
			run:  consumerLeaves,
		},
	}
}

func consumerDrains(k *consumerKit) {
	batch := k.messages(0, 4, "a", "b")
	entered, leave := newGate(), newGate()
	var began atomic.Int64
	var cut atomic.Bool
	first := k.consume(k.h.Address, hooks{
		inside: func(ctx context.Context, _ consumer.Message) error {
			began.Add(1)
			entered.open()
			<-leave.c
			cut.Store(ctx.Err() != nil)
			return nil
		},
		change: func(cfg *consumer.Config) { cfg.Concurrency = 1 },
	})
	k.publish(batch...)
	k.await("a message should be handled", entered.c)
	first.cancel()
	select {
	case <-first.ended:
		k.broken("Run returned while a handler was running")
	case <-time.After(50 * time.Millisecond): // it is not to return at all
	}
	leave.open()
	first.wait()
	_ = first.c.Close()
	if n := began.Load(); n != 1 {
		k.broken("nothing should begin after the end; %d handlers ran", n)
	}
	if cut.Load() {
		k.broken("the handler should be let finish; its context had ended")
	}
	if !k.h.Lacks.Selection {
		k.wantWaiting("after the end", len(batch)-1)
	}
	second := k.consume(k.h.Address, hooks{})
	k.wantEffects("when another goes on", batch)
	total := 0
	for _, m := range batch {
		total += k.times(m)
	}
	if total < len(batch) || total > len(batch) && !k.h.Lacks.Selection {
		k.broken("each message should be handled once; %d handlers ran for %d messages", total, len(batch))
	}
	second.stop()
}

func consumerBoundsEnd(k *consumerKit) {
	m := k.message("a", 0)
	entered := newGate()
	first := k.consume(k.h.Address, hooks{
		inside: func(ctx context.Context, _ consumer.Message) error {
			entered.open()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * k.patience):
				return errFail
			}
		},
		change: func(cfg *consumer.Config) { cfg.DrainTimeout = 20 * time.Millisecond },
	})
	k.publish(m)
	k.await("the message should be handled", entered.c)
	first.stop()
	_ = first.c.Close()
	second := k.consume(k.h.Address, hooks{})
	k.wantEffects("when another goes on", []outbox.Message{m})
	second.stop()
}

func consumerLeaves(k *consumerKit) {
	address := k.h.Address
	var l *link
	if address != "" {
		l = k.link()
		address = l.address()
	}
	batch := slices.Concat(k.messages(0, 3, "a", "b"), k.spread("free", 3))
	var r *consuming
	pprof.Do(context.WithoutCancel(k.Context()), pprof.Labels(goroutineLabel, k.run), func(ctx context.Context) {
		r = k.consumeIn(ctx, address, hooks{})
		k.publish(batch...)
		k.wantEffects("before the end", batch)
		k.must("close", r.c.Close())
	})
	r.wait()
	if err := r.c.Close(); err != nil {
		k.broken("the second Close returned %v", err)
	}
	if err := r.c.Run(k.Context()); err == nil {
		k.broken("Run should return an error after Close")
	}
	if l != nil && !k.eventually(func() bool { return l.connections() == 0 }) {
		k.broken("%d connections are left", l.connections())
	}
	var left []string
	if !k.eventually(func() bool { left = labelled(k.run); return len(left) == 0 }) {
		k.broken("%s", left[0])
	}
}

package uowtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/uow-go/uow/consumer"
)

func consumerOrderChecks() []ConsumerCheck {
	return []ConsumerCheck{
		{
			Name: "P24_consumer_keeps_the_order_of_keys",
			Rule: "messages of one key must be handled one at a time and take effect in order, also when some fail",
			run:  consumerKeepsOrder,
		},
		{
			Name: "P24_consumer_handles_keys_at_once",
			Rule: "messages of different keys must be handled at once, as many as Concurrency says and no more",
			run:  consumerHandlesAtOnce,
		},
		{
			Name:  "P24_consumer_failing_key_holds_itself_only",
			Rule:  "a message that fails must hold up those of its key, and no others",
			needs: isolationNeeded,
			run:   consumerIsolates,
		},
	}
}

func consumerKeepsOrder(k *consumerKit) {
	batch := k.messages(0, 12, "a", "b", "c", "d")
	var mu sync.Mutex
	handling := map[string]string{}
	r := k.consume(k.h.Address, hooks{before: func(_ context.Context, m consumer.Message) error {
		mu.Lock()
		other := handling[m.Key]
		handling[m.Key] = m.ID
		mu.Unlock()
		if other != "" {
			k.broken("%s began while %s was being handled", m.ID, other)
		}
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			delete(handling, m.Key)
		}()
		if third := strings.HasSuffix(m.ID, "3") || strings.HasSuffix(m.ID, "7"); third && k.times(m.Message) <= 3 {
			return errFail
		}
		return nil
	}})
	k.publish(batch...)
	k.wantEffects("after some failed", batch)
	r.stop()
}

func consumerHandlesAtOnce(k *consumerKit) {
	const concurrency = 3
	batch := k.spread("once", 9)
	var mu sync.Mutex
	running, most := 0, 0
	full, over, leave := newGate(), newGate(), newGate()
	r := k.consume(k.h.Address, hooks{
		before: func(ctx context.Context, _ consumer.Message) error {
			mu.Lock()
			running++
			most = max(most, running)
			switch running {
			case concurrency:
				full.open()
			case concurrency + 1:
				over.open()
			}
			mu.Unlock()
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				running--
			}()
			return leave.pass(ctx)
		},
		change: func(cfg *consumer.Config) { cfg.Concurrency = concurrency },
	})
	k.publish(batch...)
	k.await(fmt.Sprintf("%d messages should be handled at once", concurrency), full.c)
	select {
	case <-over.c:
	case <-time.After(300 * time.Millisecond): // no other is to begin at all
	}
	leave.open()
	k.wantEffects("at the end", batch)
	if most > concurrency {
		k.broken("%d were handled at once; Concurrency is %d", most, concurrency)
	}
	r.stop()
}

func consumerIsolates(k *consumerKit) {
	failing, others := k.messages(0, 3, "failing"), k.messages(0, 10, "a", "b", "c")
	well := newGate()
	r := k.consume(k.h.Address, hooks{before: func(_ context.Context, m consumer.Message) error {
		select {
		case <-well.c:
			return nil
		default:
		}
		if m.ID == failing[0].ID {
			return errFail
		}
		if m.Key == "failing" {
			k.broken("%s was handled before %s", m.ID, failing[0].ID)
			return errors.New("it is not this one's turn")
		}
		return nil
	}})
	k.publish(failing...)
	k.publish(others...)
	if !k.eventually(func() bool { return k.has(others) }) {
		k.broken("the messages of other keys should be handled; there is %v", k.effects())
	}
	well.open()
	k.wantEffects("when the key goes well again", append(failing, others...))
	r.stop()
}

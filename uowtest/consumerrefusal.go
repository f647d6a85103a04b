package uowtest

import (
	"context"
	"errors"
	"strings"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

func consumerRefusalChecks() []ConsumerCheck {
	return []ConsumerCheck{
		{
			Name: "P24_consumer_puts_away_what_is_refused",
			Rule: "a message that its handler refuses must be put away with the reason, be acknowledged, and its key go on",
			run:  consumerPutsAway,
		},
		{
			Name: "P24_consumer_gives_up_after_so_many_attempts",
			Rule: "a message that fails MaxAttempts times must be put away, and not be tried more often",
			run:  consumerGivesUp,
		},
		{
			Name: "P24_consumer_puts_away_what_is_malformed",
			Rule: "what is no message of a publisher must be put away with a reason, and the others be handled",
			run:  consumerMalformed,
		},
		{
			Name:  "P24_consumer_refuses_and_loses_nothing",
			Rule:  "a refused message must be acknowledged only when it has been put away, however connections break",
			needs: linkNeeded,
			run:   consumerRefusesThroughCuts,
		},
	}
}

func consumerPutsAway(k *consumerKit) {
	batch := k.messages(0, 4, "a", "b")
	bad := k.message("a", 1)
	r := k.consume(k.h.Address, hooks{before: func(_ context.Context, m consumer.Message) error {
		if m.ID == bad.ID {
			return consumer.Refuse(errors.New("no such account: \u00e4\r\nX: y"))
		}
		return nil
	}})
	k.publish(batch...)
	k.wantEffects("beside a refused message", without(batch, bad))
	k.wantDead("no such account: \u00e4", bad)
	if n := k.times(bad); n != 1 {
		k.broken("%s should be tried once; it was %d times", bad.ID, n)
	}
	r.stop()
}

func consumerGivesUp(k *consumerKit) {
	batch := k.messages(0, 3, "a", "b")
	bad := k.message("a", 1)
	r := k.consume(k.h.Address, hooks{
		before: func(_ context.Context, m consumer.Message) error {
			if m.ID == bad.ID {
				return errFail
			}
			return nil
		},
		change: func(cfg *consumer.Config) { cfg.MaxAttempts = 3 },
	})
	k.publish(batch...)
	k.wantEffects("beside a message that fails", without(batch, bad))
	k.wantDead(errFail.Error(), bad)
	if n := k.times(bad); n != 3 {
		k.broken("%s should be tried 3 times; it was %d times", bad.ID, n)
	}
	r.stop()
}

func consumerMalformed(k *consumerKit) {
	r := k.consume(k.h.Address, hooks{})
	before, after := k.messages(0, 2, "a", "b"), k.messages(2, 2, "a", "b")
	k.publish(before...)
	for range 2 {
		k.must("store what is no message", k.queue.Garbage(k.Context()))
	}
	k.publish(after...)
	k.wantEffects("beside what is malformed", append(before, after...))
	dead := k.dead()
	if len(dead) != 2 {
		k.broken("both should be put away; %d are", len(dead))
	}
	for _, d := range dead {
		if d.Reason == "" {
			k.broken("it should have a reason")
		}
	}
	r.stop()
}

func consumerRefusesThroughCuts(k *consumerKit) {
	l := k.link()
	batch := k.messages(0, 6, "a", "b")
	r := k.consume(l.address(), hooks{before: func(_ context.Context, m consumer.Message) error {
		if strings.HasSuffix(m.ID, "-2") {
			if k.times(m.Message) == 1 {
				l.cut()
			}
			return consumer.Refuse(errFail)
		}
		return nil
	}})
	k.publish(batch...)
	bad := []outbox.Message{k.message("a", 2), k.message("b", 2)}
	k.wantEffects("when connections break", without(batch, bad...))
	k.wantDead(errFail.Error(), bad...)
	r.stop()
}

// wantDead demands that these messages were put away, and nothing else, and why.
func (k *consumerKit) wantDead(reason string, want ...outbox.Message) {
	k.Helper()
	found := map[string]bool{}
	for _, d := range k.dead() {
		found[d.Message.ID] = true
		if !strings.Contains(d.Reason, reason) || strings.ContainsAny(d.Reason, "\r\n") {
			k.broken("the reason should be one line that says %q; it is %q", reason, d.Reason)
		}
	}
	for _, m := range want {
		if !found[m.ID] {
			k.broken("%s should be put away; %v is", m.ID, found)
			return
		}
		for _, d := range k.dead() {
			d.Message.Headers = m.Headers // to which the reason is added
			if d.Message.ID == m.ID && different(m, d.Message) != "" {
				k.broken("what is put away should be the message; %s", different(m, d.Message))
			}
		}
		delete(found, m.ID)
	}
	if len(found) > 0 {
		k.broken("nothing else should be put away; %v is", found)
	}
}

// without returns the messages but for these.
func without(batch []outbox.Message, these ...outbox.Message) (rest []outbox.Message) {
	ids := map[string]bool{}
	for _, m := range these {
		ids[m.ID] = true
	}
	for _, m := range batch {
		if !ids[m.ID] {
			rest = append(rest, m)
		}
	}
	return rest
}

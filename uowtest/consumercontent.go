package uowtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

func consumerContentChecks() []ConsumerCheck {
	return []ConsumerCheck{{
		Name: "Consumer_messages_arrive_unchanged",
		Rule: "the handler must get each message as it was published, and a Source",
		run:  consumerContent,
	}}
}

func consumerContent(k *consumerKit) {
	large := make([]byte, cmp.Or(k.h.MaxPayload, 1<<20))
	_, _ = rand.Read(large)
	payloads := [][]byte{nil, {0}, []byte("a\x00b\r\nc"), {0xff, 0xfe, 0xc3}, []byte(`{"a":1}`), large}
	var batch []outbox.Message
	for i, payload := range payloads {
		m := k.message(fmt.Sprint("payload", i), 0)
		m.Payload = payload
		batch = append(batch, m)
	}
	full := k.message("k/\u00e4 %41\"\\", 0)
	full.AggregateType, full.AggregateID, full.Sequence = "accounts", "a/b c%20\u00e9", 42
	full.Headers = map[string]string{"content-type": "application/json", "traceparent": "00-1-2-03", "x-other": "v"}
	batch = append(batch, full)
	var mu sync.Mutex
	got := map[string]consumer.Message{}
	r := k.consume(k.h.Address, hooks{before: func(_ context.Context, m consumer.Message) error {
		mu.Lock()
		defer mu.Unlock()
		got[m.ID] = m
		return nil
	}})
	k.publish(batch...)
	k.wantEffects("of hostile messages", batch)
	mu.Lock()
	defer mu.Unlock()
	for _, m := range batch {
		one := got[m.ID]
		if difference := different(m, one.Message); difference != "" {
			k.broken("%s has changed: %s", m.ID, difference)
		}
		if one.Source == "" || one.Attempt != 1 {
			k.broken("%s should have a source, and be the first attempt; it has %q and is attempt %d", m.ID, one.Source, one.Attempt)
		}
	}
	r.stop()
}

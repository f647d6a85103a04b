package uowtest

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay"
)

func publisherConfirmChecks() []PublisherCheck {
	return []PublisherCheck{
		{
			Name:  "P20_publisher_awaits_the_confirmation",
			Rule:  "a message may be called stored only when the broker has said so",
			needs: addressNeeded,
			run:   publishAwaits,
		},
		{
			Name:  "P20_publisher_calls_a_lost_answer_unknown",
			Rule:  "when the context ends, what was sent is unknown, what was not sent is not tried, and Publish returns",
			needs: addressNeeded,
			run:   publishLosesAnswer,
		},
		{
			Name: "Publisher_sends_nothing_after_its_context",
			Rule: "nothing may be sent when the context has ended before",
			run:  publishTooLate,
		},
		{
			Name:  "P20_publisher_deduplicates",
			Rule:  "a message that is published again with its id must not be stored again, and new ones beside it must be",
			needs: dedupNeeded,
			run:   publishTwice,
		},
	}
}

// large gives a message a payload that is seen among whatever else a client says.
func large(m outbox.Message) outbox.Message {
	m.Payload = make([]byte, 16<<10)
	_, _ = rand.Read(m.Payload)
	return m
}

func publishAwaits(k *publisherKit) {
	p, l := k.openLinked()
	warm := k.messages(0, 1, "a")
	k.wantDelivered(warm, k.publish(p, warm))
	l.hold(requests)
	ctx, cancel := context.WithTimeout(k.Context(), k.patience)
	defer cancel()
	batch := []outbox.Message{large(k.message("a", 1))}
	results := k.start(ctx, p, batch)
	if !k.eventually(func() bool { return l.held(requests) > 1000 }) { // the link reads on only when it is released
		k.broken("the message should be sent; the broker's side of the link saw %d bytes", l.held(requests))
	}
	cancel()
	got := results()
	k.judge(batch, got)
	k.wantOutcomes(batch, got, []relays.Outcome{relays.Unknown})
	l.release()
	k.deliver(p, batch)
	k.wantStored("after it was published again", slices.Concat(warm, batch))
}

func publishLosesAnswer(k *publisherKit) {
	p, l := k.openLinked()
	warm := k.messages(0, 1, "a")
	k.wantDelivered(warm, k.publish(p, warm))
	l.hold(answers)
	ctx, cancel := context.WithTimeout(k.Context(), k.patience)
	defer cancel()
	batch := slices.Concat(k.messages(1, 3, "a"), k.free(0, 1))
	results := k.start(ctx, p, batch)
	arrived := k.eventually(func() bool { return k.copies(k.stored())[batch[0].ID] > 0 })
	if !arrived {
		k.broken("the message should be sent; it did not arrive")
	}
	cancel()
	got := results()
	k.judge(batch, got)
	either := []relays.Outcome{relays.Unknown, relays.NotTried}
	k.wantOutcomes(batch, got, []relays.Outcome{relays.Unknown}, either, either, either)
	l.release()
	k.deliver(p, batch)
	k.wantStored("after it was published again", slices.Concat(warm, batch))
}

func publishTooLate(k *publisherKit) {
	p := k.open()
	ctx, cancel := context.WithCancel(k.Context())
	cancel()
	batch := slices.Concat(k.messages(0, 3, "a"), k.free(0, 2))
	for i, r := range k.publishIn(ctx, p, batch) {
		if r.Outcome != relays.NotTried {
			k.broken("%s should be called not tried; it is %v (%v)", batch[i].ID, r.Outcome, r.Err)
		}
	}
	k.wantStored("after a batch that came too late", nil)
	k.wantDelivered(batch, k.publish(p, batch))
}

func publishTwice(k *publisherKit) {
	p := k.open()
	all := slices.Concat(k.messages(0, 3, "a"), k.free(0, 2), k.messages(3, 2, "a", "b"), k.free(2, 2))
	for _, batch := range [][]outbox.Message{all[:5], all[:5], all, all[4:6]} {
		k.wantDelivered(batch, k.publish(p, batch))
	}
	k.wantStored("after messages were published again", all)
	other := k.open()
	k.wantDelivered(all, k.publish(other, all))
	k.wantStored("after another publisher has published them again", all)
}

// deliver publishes as a relay does, until all is delivered: each key from its first
// message on that is not.
func (k *publisherKit) deliver(p relays.Publisher, batch []outbox.Message) {
	k.Helper()
	for began := time.Now(); len(batch) > 0; {
		if time.Since(began) > k.patience {
			k.broken("messages that fail for now should be delivered in the end; %s and others are not", batch[0].ID)
			return
		}
		batch = undelivered(batch, k.publish(p, batch))
		if len(batch) > 0 {
			<-time.After(5 * time.Millisecond)
		}
	}
}

// undelivered returns what a relay sends again.
func undelivered(batch []outbox.Message, results []relays.Result) (rest []outbox.Message) {
	gone := false
	for i, r := range results {
		gone = gone || r.Outcome == relays.Unavailable
		if gone || !r.Outcome.Delivered() {
			rest = append(rest, batch[i])
		}
	}
	return rest
}

package uowtest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay"
)

func publisherOrderChecks() []PublisherCheck {
	return []PublisherCheck{
		{
			Name: "Publisher_one_result_per_message",
			Rule: "Publish must return one result per message, in the batch's order, whatever the batch's size",
			run:  publishOneResult,
		},
		{
			Name: "P21_publisher_keeps_the_order_of_keys",
			Rule: "the messages of a key must be stored in their order, within a batch and across batches",
			run:  publishInOrder,
		},
		{
			Name: "P21_publisher_stops_a_key_at_a_failure",
			Rule: "after a message that is not stored nothing more of its key may be, and all other keys go on",
			run:  publishStopsKey,
		},
		{
			Name: "P21_publisher_repeats_from_an_earlier_message",
			Rule: "a batch that begins with messages that are stored must be stored to its end, in order",
			run:  publishRepeats,
		},
		{
			Name: "P21_publisher_keeps_order_in_several_goroutines",
			Rule: "calls with different keys may run at once, and each must answer for its own batch",
			run:  publishTogether,
		},
	}
}

func publishOneResult(k *publisherKit) {
	p := k.open()
	if results := p.Publish(k.Context(), nil); len(results) != 0 {
		k.broken("an empty batch should have no results; it has %v", results)
	}
	var all []outbox.Message
	for _, n := range []int{1, 2, 40} { // the last one is more than most transports take at once
		batch := slices.Concat(k.messages(len(all), n, keysNamed("many", 30)...), k.free(len(all), n*30))
		if n == 1 {
			batch = batch[:1]
		}
		k.wantDelivered(batch, k.publish(p, batch))
		all = append(all, batch...)
	}
	k.wantStored("after batches of several sizes", all)
}

func keysNamed(name string, n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint(name, i))
	}
	return keys
}

func publishInOrder(k *publisherKit) {
	p := k.open()
	keys := keysNamed("key", 5)
	var all []outbox.Message
	for round := range 4 {
		batch := k.messages(round*10, 10, keys...)
		k.wantDelivered(batch, k.publish(p, batch))
		all = append(all, batch...)
	}
	k.wantStored("after four batches", all)
}

// failing are the ways to make a message fail.
func (k *publisherKit) failing() map[string]func(m outbox.Message) outbox.Message {
	ways := map[string]func(m outbox.Message) outbox.Message{}
	if k.h.MaxPayload > 0 {
		ways["too-large"] = func(m outbox.Message) outbox.Message {
			m.Payload = make([]byte, 2*k.h.MaxPayload)
			return m
		}
	}
	if k.destination.Poison != nil {
		ways["poison"] = k.destination.Poison
	}
	return ways
}

func publishStopsKey(k *publisherKit) {
	ways := k.failing()
	if len(ways) == 0 {
		k.Skip("nothing fails by itself: set MaxPayload or Poison in the harness")
	}
	p := k.open()
	var all []outbox.Message
	for way, fail := range ways {
		bad, good, late := way+"-bad", way+"-good", way+"-late"
		batch := slices.Concat(k.messages(0, 4, bad, good), k.free(len(all), 2), k.messages(0, 2, late))
		at := slices.IndexFunc(batch, func(m outbox.Message) bool { return m.Key == bad && m.ID == k.message(bad, 1).ID })
		batch[at] = fail(batch[at])
		results := k.publish(p, batch)
		stopped := false
		for i, r := range results {
			m := batch[i]
			switch {
			case i == at:
				stopped = true
				if r.Outcome != relays.Refused && r.Outcome != relays.Retry {
					k.broken("a message that fails by itself (%s) should be refused or retried; it is %v (%v)", way, r.Outcome, r.Err)
				}
			case stopped && m.Key == bad:
				if r.Outcome != relays.NotTried {
					k.broken("what comes after a failure (%s) in its key should be called not tried; it is %v", way, r.Outcome)
				}
			default:
				if !r.Outcome.Delivered() {
					k.broken("what does not come after a failure (%s) in its key should be stored; %s is %v (%v)", way, m.ID, r.Outcome, r.Err)
				}
				all = append(all, m)
			}
		}
		// The relay holds the key; others go on, and it goes on without the message.
		rest := k.messages(2, 2, bad)
		more := slices.Concat(k.messages(4, 2, good), rest)
		k.wantDelivered(more, k.publish(p, more))
		all = append(all, more...)
	}
	k.wantStored("after batches with failures", all)
}

func publishRepeats(k *publisherKit) {
	p := k.open()
	all := slices.Concat(k.messages(0, 8, "a", "b"), k.free(0, 4))
	first := slices.Concat(all[:8], all[16:18])
	k.wantDelivered(first, k.publish(p, first))
	for range 2 {
		again := all[4:]
		k.wantDelivered(again, k.publish(p, again))
	}
	k.wantStored("after a batch was repeated from an earlier message on", all)
}

func publishTogether(k *publisherKit) {
	p := k.open()
	var mu sync.Mutex
	var all []outbox.Message
	var done sync.WaitGroup
	results := map[int][][]relays.Result{}
	batches := map[int][][]outbox.Message{}
	for g := range 6 {
		for round := range 5 {
			batch := k.messages(round*10, 10, fmt.Sprintf("g%d-a", g), fmt.Sprintf("g%d-b", g))
			batches[g] = append(batches[g], batch)
			all = append(all, batch...)
		}
	}
	for g, of := range batches {
		done.Go(func() {
			for _, batch := range of {
				r := k.start(k.Context(), p, batch)()
				mu.Lock()
				results[g] = append(results[g], r)
				mu.Unlock()
			}
		})
	}
	done.Wait()
	stored := k.copies(k.stored())
	for g, of := range results {
		for round, r := range of {
			k.judgeBy(stored, batches[g][round], r)
			k.wantDelivered(batches[g][round], r)
		}
	}
	k.wantStored("after six goroutines have published", all)
}

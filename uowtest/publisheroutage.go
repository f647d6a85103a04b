package uowtest

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay"
)

func publisherOutageChecks() []PublisherCheck {
	return []PublisherCheck{
		{
			Name:  "Publisher_is_unavailable_while_the_broker_is",
			Rule:  "while the broker can't be reached nothing is refused or retried for it: it is unavailable",
			needs: addressNeeded | outagesNeeded,
			run:   publishInOutage,
		},
		{
			Name:  "Publisher_comes_back_with_the_broker",
			Rule:  "when the broker can be reached again, the same publisher must publish again",
			needs: addressNeeded,
			run:   publishAfterOutages,
		},
		{
			Name:  "P20_publisher_loses_nothing_when_connections_break",
			Rule:  "wherever a connection breaks, what was called stored is, and each key is in order",
			needs: addressNeeded,
			run:   publishThroughCuts,
		},
	}
}

// inOutage publishes while the broker can't be reached, with a time limit as short
// as patience allows, and demands nothing was delivered.
func (k *publisherKit) inOutage(p relays.Publisher, batch []outbox.Message) []relays.Result {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), min(10*time.Second, k.patience))
	defer cancel()
	results := k.publishIn(ctx, p, batch)
	for i, r := range results {
		if r.Outcome.Delivered() || r.Outcome == relays.Refused {
			k.broken("while the broker is gone nothing is delivered or refused; %s is %v (%v)", batch[i].ID, r.Outcome, r.Err)
		}
	}
	return results
}

func publishInOutage(k *publisherKit) {
	p, l := k.openLinked()
	warm := k.messages(0, 1, "a")
	k.wantDelivered(warm, k.publish(p, warm))
	l.refuse()
	batch := slices.Concat(k.messages(1, 2, "a", "b"), k.free(0, 2))
	// What is sent by a connection whose end is not known yet is unknown.
	var results []relays.Result
	known := k.eventually(func() bool {
		results = k.inOutage(p, batch)
		return results[0].Outcome == relays.Unavailable
	})
	if !known {
		k.broken("the first message should be unavailable; it is %v (%v)", results[0].Outcome, results[0].Err)
	}
	for i, r := range k.inOutage(p, batch) {
		if r.Outcome != relays.Unavailable && r.Outcome != relays.NotTried {
			k.broken("%s should be unavailable, or not tried; it is %v (%v)", batch[i].ID, r.Outcome, r.Err)
		}
	}
	k.must("end the outage", l.heal())
	k.deliver(p, batch)
	k.wantStored("after the outage", slices.Concat(warm, batch))
}

func publishAfterOutages(k *publisherKit) {
	p, l := k.openLinked()
	var all []outbox.Message
	for round := range 3 {
		batch := k.messages(round*2, 2, "a", "b")
		all = append(all, batch...)
		l.refuse()
		k.inOutage(p, batch)
		k.must("end the outage", l.heal())
		k.deliver(p, batch)
	}
	k.wantStored("after three outages", all)
}

func publishThroughCuts(k *publisherKit) {
	p, l := k.openLinked()
	random := rand.New(rand.NewPCG(1, 2))
	var all []outbox.Message
	for round := range 12 {
		batch := slices.Concat(k.messages(round*5, 5, keysNamed("cut", 6)...), k.free(round*10, 10))
		for i := range batch {
			if i%7 == 0 {
				batch[i] = large(batch[i])
			}
		}
		all = append(all, batch...)
		switch round % 4 {
		case 0: // in the middle of what is sent
			l.cutAfterRequests(1 + random.IntN(100_000))
		case 1: // early
			l.cutAfterRequests(1 + random.IntN(2_000))
		case 2: // what was sent arrives, and no answer comes
			k.loseAnswers(p, l, batch)
		}
		k.deliver(p, batch)
	}
	k.wantStored("after connections have broken", all)
}

func (k *publisherKit) loseAnswers(p relays.Publisher, l *link, batch []outbox.Message) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), k.patience)
	defer cancel()
	l.hold(answers)
	results := k.start(ctx, p, batch)
	if !k.eventually(func() bool { return l.held(answers) > 0 }) {
		k.broken("the broker should have something to answer")
	}
	l.cut()
	l.release()
	k.judge(batch, results())
}

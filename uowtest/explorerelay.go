package uowtest

import (
	"context"
	"log/slog"
	"time"

	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay" // the kit has a type of that name
)

// publisherOf makes each Publish a step, and notes what was stored.
func publisherOf(x *Run, p relays.Publisher) relays.Publisher {
	noting := relays.PublisherFunc(func(ctx context.Context, batch []outbox.Message) []relays.Result {
		results := storeAll(batch)
		if p != nil {
			results = p.Publish(ctx, batch)
		}
		for i, r := range results {
			if r.Outcome.Delivered() {
				x.done.publish(batch[i])
			}
		}
		return results
	})
	if x.process == nil {
		return noting
	}
	return FaultyPublisher(noting, Faults{Around: x.process.around})
}

func storeAll(batch []outbox.Message) []relays.Result {
	results := make([]relays.Result, len(batch))
	for i := range results {
		results[i].Outcome = relays.Stored
	}
	return results
}

// Relay publishes what the outbox has, by a relay that ends when everything is
// delivered or parked. A nil publisher stores everything. In an Operation the
// relay's own steps are explored too; in Restart, Snapshot and Invariant it delivers
// what was left.
func (x *Run) Relay(ctx context.Context, p relays.Publisher) error {
	log, err := outbox.Of(x.DB)
	if err != nil {
		return err
	}
	const cursor = "uowtest"
	if done, err := delivered(ctx, log, cursor); done || err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	relay, err := relays.New(relays.Config{
		Log:          log,
		Publisher:    x.Publisher(p),
		Cursor:       cursor,
		PollInterval: 250 * time.Millisecond, // what polls do would be a step now and then
		DrainTimeout: time.Second,
		TakeOver:     true, // one that has crashed is not waited for
		Backoff:      relays.Backoff{Min: time.Microsecond, Max: time.Millisecond},
		Logger:       slog.New(slog.DiscardHandler),
		Observer: watcher{func() {
			if done, err := delivered(ctx, log, cursor); done || err != nil {
				cancel()
			}
		}},
	})
	if err != nil {
		return err
	}
	return relay.Run(ctx)
}

// delivered reports whether a relay has nothing left to do.
func delivered(ctx context.Context, log outbox.Log, cursor string) (bool, error) {
	stats, err := log.Stats(ctx)
	if err != nil || stats.End == 0 {
		return err == nil, err
	}
	for _, c := range stats.Cursors {
		if c.Cursor == cursor {
			return c.Position >= stats.End && c.Retrying == 0 && c.Waiting == 0, nil
		}
	}
	return false, nil
}

// watcher looks after each message whether it was the last one.
type watcher struct{ look func() }

func (w watcher) Delivered(outbox.Message, time.Duration)   { w.look() }
func (w watcher) Failed(outbox.Message, int, relays.Result) {}
func (w watcher) Parked(outbox.Message, string)             { w.look() }
func (w watcher) Disordered(relays.Disorder)                {}

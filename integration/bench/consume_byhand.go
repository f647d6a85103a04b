package bench

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// eachMessage handles one message after the other, or as many at once as there are workers.
func (s *site) eachMessage(ctx context.Context, workers int, handled *countdown, handle func(ctx context.Context, m jetstream.Msg) error) error {
	from, err := s.handConsumer(ctx)
	if err != nil {
		return err
	}
	messages, err := from.Messages(jetstream.PullMaxMessages(256))
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(working, messages.Stop)()
	queue, errs := make(chan jetstream.Msg), make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			if errs[i] = work(working, queue, handled, handle); errs[i] != nil {
				stop()
			}
		})
	}
	for working.Err() == nil {
		m, err := messages.Next()
		if err != nil {
			break // it was stopped
		}
		select {
		case queue <- m:
		case <-working.Done():
		}
	}
	close(queue)
	wg.Wait()
	return errors.Join(errs...)
}

// work handles what comes by a queue.
func work(ctx context.Context, queue <-chan jetstream.Msg, handled *countdown, handle func(ctx context.Context, m jetstream.Msg) error) error {
	for m := range queue {
		if err := handle(ctx, m); err != nil {
			return err
		}
		if err := m.Ack(); err != nil {
			return err
		}
		handled.done(1)
	}
	return nil
}

// eachBatch handles so many messages at once, until none is left.
func (s *site) eachBatch(ctx context.Context, size int, handled *countdown, handle func(ctx context.Context, batch []jetstream.Msg) error) error {
	from, err := s.handConsumer(ctx)
	if err != nil {
		return err
	}
	for {
		found, err := from.FetchNoWait(size)
		if err != nil {
			return err
		}
		var batch []jetstream.Msg
		for m := range found.Messages() {
			batch = append(batch, m)
		}
		if err := found.Error(); err != nil || len(batch) == 0 {
			return err
		}
		if err := handle(ctx, batch); err != nil {
			return err
		}
		for _, m := range batch {
			if err := m.Ack(); err != nil {
				return err
			}
		}
		handled.done(len(batch))
	}
}

// handConsumer is one as JetStream makes it by default, but for the number that may be under
// way at once.
func (s *site) handConsumer(ctx context.Context) (jetstream.Consumer, error) {
	return s.js.CreateConsumer(ctx, s.stream, jetstream.ConsumerConfig{
		Durable: durableName, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: inFlight,
	})
}

// idOf is the id that a message is remembered by.
func idOf(m jetstream.Msg) string { return m.Headers().Get(ceID) }

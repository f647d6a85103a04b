package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// opened is what drains return that have nothing to close.
func opened(publish func(ctx context.Context) error) (func(context.Context) error, func() error, error) {
	return publish, func() error { return nil }, nil
}

// rawMessages makes messages before anything is measured: they only have an id, or what
// uow's publisher sends.
func (s *site) rawMessages(n int, event bool) []*nats.Msg { return s.rawMessagesOf(n, keys, event) }

// rawMessagesOf is rawMessages with another number of aggregates.
func (s *site) rawMessagesOf(n, keys int, event bool) []*nats.Msg {
	messages := make([]*nats.Msg, n)
	for i := range messages {
		key, payload := newParcelOf(i, keys)
		m := &nats.Msg{Subject: s.stream, Data: payload, Header: nats.Header{nats.MsgIdHdr: {parcelID(i)}}}
		if event {
			for name, value := range map[string]string{
				"ce-specversion": "1.0", "ce-id": parcelID(i), "ce-source": "/bench", "ce-type": "Changed", "ce-subject": key,
				"ce-time": time.Now().UTC().Format(time.RFC3339Nano), "ce-partitionkey": "accounts/" + key, "ce-topic": s.stream,
				"ce-aggregatetype": "accounts", "content-type": "application/json",
			} {
				m.Header[name] = []string{value}
			}
		}
		messages[i] = m
	}
	return messages
}

// rawAsync publishes from memory with many messages in flight: what the server can take
// from one client, and nothing else.
func rawAsync(name string, event bool) drain {
	return drain{name: name, share: 1, ordered: true, open: func(_ context.Context, s *site, n int) (func(context.Context) error, func() error, error) {
		messages := s.rawMessages(n, event)
		return opened(func(ctx context.Context) error { return publishAll(ctx, s.js, messages) })
	}}
}

// publishAll publishes asynchronously, and returns when all is acknowledged.
func publishAll(ctx context.Context, js jetstream.JetStream, messages []*nats.Msg) error {
	futures := make([]jetstream.PubAckFuture, 0, len(messages))
	for _, m := range messages {
		future, err := js.PublishMsgAsync(m, jetstream.WithStallWait(10*time.Second))
		if err != nil {
			return err
		}
		futures = append(futures, future)
	}
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// rawSync publishes one message after the other.
func rawSync(share float64) drain {
	return drain{name: "raw, synchronous", share: share, ordered: true, open: func(_ context.Context, s *site, n int) (func(context.Context) error, func() error, error) {
		messages := s.rawMessages(n, false)
		return opened(func(ctx context.Context) error {
			for _, m := range messages {
				if _, err := s.js.PublishMsg(ctx, m); err != nil {
					return err
				}
			}
			return nil
		})
	}}
}

// rawBatches publishes atomic batches of a thousand, the most that a server takes.
func rawBatches() drain {
	return drain{name: "raw, atomic batches of 1,000, uow's headers", share: 1, ordered: true,
		open: func(_ context.Context, s *site, n int) (func(context.Context) error, func() error, error) {
			messages := s.rawMessages(n, true)
			return opened(func(ctx context.Context) error {
				for first := 0; first < n; first += 1000 {
					if err := s.batch(ctx, messages[first:min(first+1000, n)], strconv.Itoa(first)); err != nil {
						return err
					}
				}
				return nil
			})
		}}
}

// batch publishes one atomic batch.
func (s *site) batch(ctx context.Context, messages []*nats.Msg, id string) error {
	for i, m := range messages {
		m.Header["Nats-Batch-Id"] = []string{id}
		m.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		if i < len(messages)-1 {
			if err := s.conn.PublishMsg(m); err != nil {
				return err
			}
			continue
		}
		m.Header["Nats-Batch-Commit"] = []string{"1"}
		answer, err := s.conn.RequestMsgWithContext(ctx, m)
		if err != nil {
			return err
		}
		if err := acknowledged(answer.Data); err != nil {
			return err
		}
	}
	return nil
}

// acknowledged reads the answer to a batch.
func acknowledged(answer []byte) error {
	var ack struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		return err
	}
	if ack.Error != nil {
		return errors.New("bench: the stream answered: " + ack.Error.Description)
	}
	return nil
}

package bench

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	watersql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// watermillDrain is Watermill's forwarder from its SQL Pub/Sub. It hands on one message
// at a time. Its own publisher for NATS does not wait for acknowledgements, so that a
// lost connection loses messages; this one does.
func watermillDrain(name string, share float64, tuned bool) drain {
	return drain{name: name, share: share, ordered: true,
		open: func(ctx context.Context, s *site, n int) (func(context.Context) error, func() error, error) {
			pool, err := newPool(ctx, s.where)
			if err != nil {
				return nil, nil, err
			}
			end := func() error { pool.Close(); return nil }
			var schema watersql.SchemaAdapter = watersql.DefaultPostgreSQLSchema{}
			subscribe := watersql.SubscriberConfig{OffsetsAdapter: watersql.DefaultPostgreSQLOffsetsAdapter{}, InitializeSchema: true}
			if tuned {
				schema = watersql.PostgreSQLQueueSchema{SubscribeBatchSize: 1000}
				subscribe.OffsetsAdapter = watersql.PostgreSQLQueueOffsetsAdapter{DeleteOnAck: true}
				subscribe.PollInterval = 10 * time.Millisecond
			}
			subscribe.SchemaAdapter = schema
			db, logger := watersql.BeginnerFromPgx(pool), watermill.NopLogger{}
			in, err := watersql.NewPublisher(db, watersql.PublisherConfig{SchemaAdapter: schema, AutoInitializeSchema: true}, logger)
			if err == nil {
				err = fillWatermill(forwarder.NewPublisher(in, forwarder.PublisherConfig{}), s.stream, n)
			}
			if err != nil {
				return nil, nil, errors.Join(err, end())
			}
			from, err := watersql.NewSubscriber(db, subscribe, logger)
			if err != nil {
				return nil, nil, errors.Join(err, end())
			}
			f, err := forwarder.NewForwarder(from, &acknowledging{js: s.js}, logger, forwarder.Config{})
			if err != nil {
				return nil, nil, errors.Join(err, end())
			}
			return f.Run, func() error { return errors.Join(f.Close(), end()) }, nil
		}}
}

// fillWatermill lets n messages wait.
func fillWatermill(p message.Publisher, topic string, n int) error {
	const chunk = 1000
	for from := 0; from < n; from += chunk {
		var messages []*message.Message
		for i := from; i < min(from+chunk, n); i++ {
			_, payload := newParcel(i)
			messages = append(messages, message.NewMessage(parcelID(i), payload))
		}
		if err := p.Publish(topic, messages...); err != nil {
			return err
		}
	}
	return nil
}

// acknowledging publishes to JetStream, and waits for each answer.
type acknowledging struct{ js jetstream.JetStream }

// Publish implements message.Publisher.
func (a *acknowledging) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		_, err := a.js.PublishMsg(m.Context(), &nats.Msg{Subject: topic, Data: m.Payload, Header: nats.Header{nats.MsgIdHdr: {m.UUID}}})
		if err != nil {
			return err
		}
	}
	return nil
}

// Close implements message.Publisher.
func (a *acknowledging) Close() error { return nil }

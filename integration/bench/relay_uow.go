package bench

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	publisher "github.com/uow-go/uow/publishers/nats"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/sqlite"
)

func openPostgresOutbox(ctx context.Context, where string) (*uow.DB, error) {
	return postgres.Options{MaxConns: Conns}.Open(ctx, where, uow.Config{})
}

func openSQLiteOutbox(ctx context.Context, where string) (*uow.DB, error) {
	return sqlite.Open(ctx, filepath.Join(where, "bench.db"), uow.Config{})
}

type (
	relayConfig     = relay.Config
	publisherConfig = publisher.Config
)

// tuned is a relay, and a publisher, for long backlogs.
func tuned(c *relay.Config, p *publisher.Config) { c.BatchSize, p.Concurrency = inFlight, inFlight }

// uowDrain is uow by its public API: units that append, a relay, a publisher.
func uowDrain(name string, open func(ctx context.Context, where string) (*uow.DB, error), tune func(*relay.Config, *publisher.Config)) drain {
	return drain{name: name, share: 1, ordered: true, open: func(ctx context.Context, s *site, n int) (func(context.Context) error, func() error, error) {
		db, err := open(ctx, s.where)
		if err != nil {
			return nil, nil, err
		}
		if err := enqueueBy(ctx, db, s.stream, 0, n, 1000); err != nil {
			return nil, nil, errors.Join(err, db.Close())
		}
		r, end, err := s.relay(ctx, db, tune)
		if err != nil {
			return nil, nil, errors.Join(err, db.Close())
		}
		return r.Run, func() error { return errors.Join(end(), db.Close()) }, nil
	}}
}

// newMessageOf returns a message such as an aggregate's event is.
func newMessageOf(topic string, number int) outbox.Message {
	key, payload := newParcel(number)
	return outbox.Message{
		Topic: topic, Key: "accounts/" + key, Type: "Changed", AggregateType: "accounts", AggregateID: key,
		Headers: map[string]string{"content-type": "application/json"}, Payload: payload,
	}
}

// relay makes a relay that publishes to the site's stream.
func (s *site) relay(ctx context.Context, db *uow.DB, tune func(*relay.Config, *publisher.Config)) (*relay.Relay, func() error, error) {
	log, err := outbox.Of(db)
	if err != nil {
		return nil, nil, err
	}
	cfg := relay.Config{Log: log, Logger: slog.New(slog.DiscardHandler)}
	broker := publisher.Config{URL: s.url(), Options: s.address, Stream: s.stream, Source: "/bench"}
	if tune != nil {
		tune(&cfg, &broker)
	}
	to, err := publisher.New(ctx, broker)
	if err != nil {
		return nil, nil, err
	}
	cfg.Publisher = to
	r, err := relay.New(cfg)
	return r, to.Close, err
}

// url is where the site's server is.
func (s *site) url() string {
	if s.address != nil {
		return ""
	}
	return "nats://" + FindNATS()
}

package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	publisher "github.com/uow-go/uow/publishers/nats"
	"github.com/uow-go/uow/sqlite"
)

// withAccounts opens a database of uow, and another connection, which is asked what is in it.
type withAccounts func(ctx context.Context, where string, cfg uow.Config) (*uow.DB, *sql.DB, error)

func openPostgresWith(ctx context.Context, where string, cfg uow.Config) (*uow.DB, *sql.DB, error) {
	beside, err := newSQL(where, pgx.QueryExecModeExec)
	if err != nil {
		return nil, nil, err
	}
	db, err := postgres.Options{MaxConns: Conns}.Open(ctx, where, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, beside.Close())
	}
	return db, beside, nil
}

func openSQLiteWith(ctx context.Context, where string, cfg uow.Config) (*uow.DB, *sql.DB, error) {
	file := filepath.Join(where, "bench.db")
	beside, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return nil, nil, err
	}
	db, err := sqlite.Open(ctx, file, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, beside.Close())
	}
	return db, beside, nil
}

func atCommit(_ *consumer.Config, i *inbox.Config) { i.Claim = inbox.AtCommit }

func atCommitMany(c *consumer.Config, i *inbox.Config) {
	c.Concurrency, i.Claim = 64, inbox.AtCommit
}

func oneAtATime(c *consumer.Config, _ *inbox.Config) { c.Concurrency = 1 }

// uowConsumption is uow by its public API: a consumer of NATS, an inbox, units.
func uowConsumption(name string, share float64, open withAccounts, tune func(*consumer.Config, *inbox.Config)) consumption {
	return consumption{name: name, share: share, ordered: true, open: func(ctx context.Context, s *site, handled *countdown) (*handling, error) {
		records := inbox.NewRecords()
		var beside *sql.DB
		all, err := newUnits(ctx, Rows, func(cfg uow.Config) (db *uow.DB, err error) {
			cfg.Collections = append(cfg.Collections, records.Collections()...)
			db, beside, err = open(ctx, s.where, cfg)
			return db, err
		})
		if err != nil {
			return nil, err
		}
		ends := func() error { return errors.Join(beside.Close(), all.Close()) }
		if _, err := beside.ExecContext(ctx, "ANALYZE accounts"); err != nil {
			return nil, errors.Join(err, ends())
		}
		c, err := s.consumer(ctx, all, records, handled, tune)
		if err != nil {
			return nil, errors.Join(err, ends())
		}
		return &handling{
			run:      c.Run,
			accounts: func(ctx context.Context) ([]Account, error) { return accountsIn(ctx, beside) },
			ids:      func(ctx context.Context) ([]string, error) { return marksIn(ctx, all.db, records) },
			end:      func() error { return errors.Join(c.Close(), ends()) },
		}, nil
	}}
}

// consumer makes a consumer of the site's stream.
func (s *site) consumer(ctx context.Context, all *units, records *inbox.Records, handled *countdown, tune func(*consumer.Config, *inbox.Config)) (*publisher.Consumer, error) {
	cfg, box := consumer.Config{Observer: counting{handled}, Logger: slog.New(slog.DiscardHandler)}, inbox.Config{Consumer: durableName}
	if tune != nil {
		tune(&cfg, &box)
	}
	in, err := inbox.New(all.db, records, box)
	if err != nil {
		return nil, err
	}
	cfg.Handle = in.Handler(func(ctx context.Context, u *uow.Unit, m outbox.Message) error {
		var p parcel
		if err := json.Unmarshal(m.Payload, &p); err != nil {
			return err
		}
		a, err := all.accounts.In(u).Get(ctx, p.Key)
		if err == nil {
			p.apply(&a.Account)
		}
		return err
	})
	return publisher.NewConsumer(ctx, publisher.ConsumerConfig{
		Config: cfg, URL: s.url(), Options: s.address, Stream: s.stream, Durable: durableName,
	})
}

// counting counts what was handled.
type counting struct{ handled *countdown }

// Handled implements consumer.Observer.
func (c counting) Handled(consumer.Message, time.Duration) { c.handled.done(1) }

// Failed implements consumer.Observer.
func (c counting) Failed(consumer.Message, error) {}

// Refused implements consumer.Observer.
func (c counting) Refused(consumer.Message, error, bool) {}

// marksIn reads what the inbox remembers.
func marksIn(ctx context.Context, db *uow.DB, records *inbox.Records) (ids []string, err error) {
	for f := (inbox.Filter{Consumer: durableName, Limit: 1000}); ; {
		marks, next, err := records.List(ctx, db, f)
		if err != nil {
			return nil, err
		}
		for _, m := range marks {
			ids = append(ids, m.Message.ID)
		}
		if f.After = next; next == "" {
			return ids, nil
		}
	}
}

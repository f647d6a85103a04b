package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/uow-go/uow/integration/bench"
)

// brokered begins a plan of what needs PostgreSQL and a NATS server. A run there takes
// seconds, so that there are fewer rounds.
func brokered(ctx context.Context, title string, cfg *config) (p *plan, err error) {
	if cfg.postgres == "" {
		if cfg.postgres, err = bench.FindPostgres(ctx); err != nil {
			return nil, err
		}
	}
	p = &plan{title: title, rounds: (cfg.rounds + 1) / 2}
	about, err := bench.DescribePostgres(ctx, cfg.postgres)
	if err != nil {
		return nil, err
	}
	broker, err := bench.DescribeNATS()
	if err != nil {
		return nil, err
	}
	p.about = fmt.Sprintf("%s; %s; %d rounds", about, broker, p.rounds)
	return p, nil
}

// relay plans what is about relays.
func relay(ctx context.Context, cfg config) (*plan, error) {
	p, err := brokered(ctx, "The relay", &cfg)
	if err != nil {
		return nil, err
	}
	longer := bench.Load{Time: 2 * cfg.time}
	p.comparisons = append([]*bench.Comparison{bench.DrainPostgres(cfg.postgres, cfg.messages)}, bench.DrainSQLite(cfg.dir, cfg.messages)...)
	p.comparisons = append(p.comparisons,
		bench.Sustained(cfg.dir, longer),
		bench.Latency(cfg.postgres, 4*time.Second),
		bench.Enqueueing(bench.Postgres(cfg.postgres), 8, longer),
		bench.Enqueueing(bench.SQLite(cfg.dir), 32, longer),
		bench.Listening(cfg.postgres, longer),
	)
	p.last = func(ctx context.Context) error {
		written, err := bench.CountWritten(ctx, cfg.postgres, 5000)
		if err == nil {
			bench.ReportWritten(os.Stdout, written)
		}
		return err
	}
	return p, nil
}

// backlog drains very many messages.
func backlog(ctx context.Context, cfg config) (err error) {
	if cfg.postgres == "" {
		if cfg.postgres, err = bench.FindPostgres(ctx); err != nil {
			return err
		}
	}
	b, err := bench.RunBacklog(ctx, cfg.postgres, cfg.backlog)
	if err == nil {
		b.Report(os.Stdout)
	}
	return err
}

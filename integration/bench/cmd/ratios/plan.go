package main

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"github.com/uow-go/uow/integration/bench"
)

// plan is what is compared on one kind of database.
type plan struct {
	title, about string
	comparisons  []*bench.Comparison
	// rounds are the comparisons' own, where that is not 0.
	rounds int
	// last is done when all comparisons are.
	last   func(ctx context.Context) error
	delays []*bench.Delay
}

func (p *plan) run(ctx context.Context, rounds int) error {
	fmt.Printf("\n## %s\n\n%s\n", p.title, p.about)
	rounds = cmp.Or(p.rounds, rounds)
	for _, c := range p.comparisons {
		if err := c.Run(ctx, rounds); err != nil {
			return err
		}
		c.Report(os.Stdout)
	}
	if p.last != nil {
		return p.last(ctx)
	}
	return nil
}

func (p *plan) close() {
	for _, d := range p.delays {
		_ = d.Close() // the process ends soon
	}
}

// add plans a store under each number of callers.
func (p *plan) add(cfg config, store *bench.Store, key, link string) {
	for _, n := range cfg.callers {
		p.comparisons = append(p.comparisons, &bench.Comparison{
			Title: fmt.Sprintf("%s%s, %s", p.title, link, callers(n)),
			Key:   fmt.Sprintf("%s, %d", key, n),
			Store: store,
			Load:  bench.Load{Callers: n, Time: cfg.time},
		})
	}
}

func callers(n int) string {
	if n == 1 {
		return "1 caller"
	}
	return fmt.Sprintf("%d callers", n)
}

// contended plans a store with few accounts that all callers share.
func (p *plan) contended(cfg config, store *bench.Store) {
	const hot, n = 4, 32
	p.comparisons = append(p.comparisons, &bench.Comparison{
		Title: fmt.Sprintf("%s, %d callers that share %d rows, and repeat what conflicts", p.title, n, hot),
		Key:   store.Name + " contended",
		Store: store,
		Load:  bench.Load{Callers: n, Hot: hot, Time: cfg.time},
	})
}

func postgres(ctx context.Context, cfg config) (p *plan, err error) {
	if cfg.postgres == "" {
		if cfg.postgres, err = bench.FindPostgres(ctx); err != nil {
			return nil, err
		}
	}
	p = &plan{title: "PostgreSQL"}
	if p.about, err = bench.DescribePostgres(ctx, cfg.postgres); err != nil {
		return nil, err
	}
	p.about += fmt.Sprintf("; %d connections", bench.Conns)
	trip, err := bench.RoundTrip(ctx, cfg.postgres)
	if err != nil {
		return nil, err
	}
	p.about += fmt.Sprintf("; round trip %v", trip)
	store := bench.Postgres(cfg.postgres)
	p.add(cfg, store, "postgres", "")
	p.contended(cfg, store)
	if cfg.delay == 0 {
		return p, nil
	}
	delayed, d, err := bench.DelayPostgres(cfg.postgres, cfg.delay)
	if err != nil {
		return nil, err
	}
	p.delays = append(p.delays, d)
	if trip, err = bench.RoundTrip(ctx, delayed); err != nil {
		return nil, err
	}
	p.about += fmt.Sprintf(", delayed %v", trip)
	p.add(cfg, bench.Postgres(delayed), "postgres delayed", fmt.Sprintf(" and %v of round trip", cfg.delay))
	return p, nil
}

func mysql(ctx context.Context, cfg config) (p *plan, err error) {
	if cfg.mysql == "" {
		if cfg.mysql, err = bench.FindMySQL(ctx); err != nil {
			return nil, err
		}
	}
	p = &plan{title: "MySQL or MariaDB"}
	if p.about, err = bench.DescribeMySQL(ctx, cfg.mysql); err != nil {
		return nil, err
	}
	store := bench.MySQL(cfg.mysql)
	p.add(cfg, store, "mysql", "")
	p.contended(cfg, store)
	if cfg.delay == 0 {
		return p, nil
	}
	delayed, d, err := bench.DelayMySQL(cfg.mysql, cfg.delay)
	if err != nil {
		return nil, err
	}
	p.delays = append(p.delays, d)
	p.add(cfg, bench.MySQL(delayed), "mysql delayed", fmt.Sprintf(" and %v of round trip", cfg.delay))
	return p, nil
}

func sqlite(_ context.Context, cfg config) (*plan, error) {
	p := &plan{title: "SQLite", about: "journal_mode WAL, synchronous FULL, wal_autocheckpoint 10000"}
	p.add(cfg, bench.SQLite(cfg.dir), "sqlite", "")
	return p, nil
}

func tracking(ctx context.Context, cfg config) (*plan, error) {
	const many = 10_000
	if cfg.postgres == "" {
		var err error
		if cfg.postgres, err = bench.FindPostgres(ctx); err != nil {
			return nil, err
		}
	}
	p := &plan{
		title: "Tracking",
		about: fmt.Sprintf("Load %d accounts, change %d of them, commit; by hand one knows which.", many, bench.Few),
	}
	for _, store := range []*bench.Store{bench.TrackingPostgres(cfg.postgres, many), bench.TrackingSQLite(cfg.dir, many)} {
		p.comparisons = append(p.comparisons, &bench.Comparison{
			Title: "Cost of " + store.Name, Key: store.Name, Store: store, Load: bench.Load{Callers: 1, Time: cfg.time},
		})
	}
	return p, nil
}

package main

import (
	"context"
	"fmt"

	"github.com/uow-go/uow/integration/bench"
)

// consume plans what is about consumers. A run there takes a second or so, so that there
// are fewer rounds.
func consume(ctx context.Context, cfg config) (p *plan, err error) {
	if cfg.postgres == "" {
		if cfg.postgres, err = bench.FindPostgres(ctx); err != nil {
			return nil, err
		}
	}
	p = &plan{title: "Consumers", rounds: (cfg.rounds + 1) / 2}
	about, err := bench.DescribePostgres(ctx, cfg.postgres)
	if err != nil {
		return nil, err
	}
	broker, err := bench.DescribeNATS()
	if err != nil {
		return nil, err
	}
	p.about = fmt.Sprintf("%s; %s; %d rounds", about, broker, p.rounds)
	p.comparisons = []*bench.Comparison{
		bench.ConsumePostgres(cfg.postgres, cfg.consumed), bench.ConsumeSQLite(cfg.dir, cfg.consumed),
	}
	return p, nil
}

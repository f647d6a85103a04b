package main

import (
	"context"

	"github.com/uow-go/uow/integration/bench"
)

// consume plans what is about consumers.
func consume(ctx context.Context, cfg config) (*plan, error) {
	p, err := brokered(ctx, "Consumers", &cfg)
	if err != nil {
		return nil, err
	}
	p.comparisons = []*bench.Comparison{
		bench.ConsumePostgres(cfg.postgres, cfg.consumed), bench.ConsumeSQLite(cfg.dir, cfg.consumed),
	}
	return p, nil
}

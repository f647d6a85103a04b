package bench

import (
	"context"

	trmpgx "github.com/avito-tech/go-transaction-manager/drivers/pgxv5/v2"
	"github.com/avito-tech/go-transaction-manager/trm/v2/manager"
)

// managed is go-transaction-manager with its driver for pgx: a manager runs the
// function, and repositories take the transaction from the context.
type managed struct {
	byHand
	manager *manager.Manager
	getter  *trmpgx.CtxGetter
}

func openManager(ctx context.Context, dsn string) (Subject, error) {
	h, err := newByHand(ctx, dsn)
	if err != nil {
		return nil, err
	}
	m, err := manager.New(trmpgx.NewDefaultFactory(h.pool))
	return managed{h, m, trmpgx.DefaultCtxGetter}, err
}

func (s managed) Unit(ctx context.Context, id string, change func(*Account)) error {
	return s.manager.Do(ctx, func(ctx context.Context) error {
		return loadChangeSave(ctx, s.getter.DefaultTrOrDB(ctx, s.pool), id, change, s.event)
	})
}

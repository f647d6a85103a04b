package application

import (
	"context"
	"time"

	"github.com/uow-go/uow"
)

// Retention deletes history that is older than it is kept: transitions, delivered
// notifications, lines of the ledger, gaps. What is not delivered yet stays.
type Retention struct {
	DB    *uow.DB
	State *State
	// Keep is how long history is kept; 0 keeps it for ever.
	Keep  time.Duration
	Clock Clock
}

// retainBatch bounds one unit, so that nobody waits long behind it.
const retainBatch = 200

// Run deletes what is too old now, and returns how many documents that were.
func (r *Retention) Run(ctx context.Context) (deleted int, err error) {
	if r.Keep <= 0 {
		return 0, nil
	}
	before := r.Clock().Add(-r.Keep)
	for _, purge := range []func(context.Context, *uow.Unit) (int, error){
		purger(r.State.Transitions, uow.Less("slot", before)),
		purger(r.State.Attempts, uow.Less("started_at", before)),
		purger(r.State.Gaps, uow.Less("ended_at", before)),
		purger(r.State.Deliveries, uow.Less("created_at", before), uow.In("state", "delivered", "refused", "abandoned")),
	} {
		for {
			n := 0
			err := r.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) (err error) {
				n, err = purge(ctx, u)
				return err
			})
			if err != nil {
				return deleted, err
			}
			deleted += n
			if n < retainBatch {
				break
			}
		}
	}
	return deleted, nil
}

func purger[T any](c *uow.Collection[T], where ...uow.Condition) func(context.Context, *uow.Unit) (int, error) {
	return func(ctx context.Context, u *uow.Unit) (int, error) {
		repository := c.In(u)
		old, err := repository.Find(ctx, uow.Query{Where: where, Limit: retainBatch})
		if err != nil {
			return 0, err
		}
		for _, a := range old {
			if err := repository.Remove(a); err != nil {
				return 0, err
			}
		}
		return len(old), nil
	}
}

package application

import (
	"context"
	"strings"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// Recovery puts in order what an earlier run of tocsin left open. It runs once,
// before anything is evaluated or delivered.
type Recovery struct {
	DB    *uow.DB
	State *State
	Log   outbox.Log
	// Destinations are those configured now.
	Destinations []string
	Clock        Clock
}

// recoveryBatch bounds how many documents one unit of the recovery changes.
const recoveryBatch = 500

// Run completes attempts that the earlier run did not live to complete, as
// interrupted, and abandons what waits for destinations that are configured no
// longer. It returns the names of those.
func (r *Recovery) Run(ctx context.Context) (removed []string, err error) {
	if err := r.interruptAttempts(ctx); err != nil {
		return nil, err
	}
	stats, err := r.Log.Stats(ctx)
	if err != nil {
		return nil, err
	}
	configured := make(map[string]bool, len(r.Destinations))
	for _, d := range r.Destinations {
		configured[d] = true
	}
	for _, c := range stats.Cursors {
		destination, ok := strings.CutPrefix(c.Cursor, Topic(""))
		if !ok || configured[destination] {
			continue
		}
		if err := r.abandon(ctx, destination); err != nil {
			return removed, err
		}
		if err := r.Log.Drop(ctx, c.Cursor); err != nil {
			return removed, err
		}
		removed = append(removed, destination)
	}
	return removed, nil
}

func (r *Recovery) interruptAttempts(ctx context.Context) error {
	return r.batches(ctx, func(ctx context.Context, u *uow.Unit, now time.Time) (int, error) {
		open, err := r.State.Attempts.In(u).Find(ctx, uow.Query{
			Where: []uow.Condition{uow.Equal("outcome", nil)},
			Limit: recoveryBatch,
		})
		for _, a := range open {
			interrupt(a, now)
		}
		return len(open), err
	})
}

func (r *Recovery) abandon(ctx context.Context, destination string) error {
	return r.batches(ctx, func(ctx context.Context, u *uow.Unit, now time.Time) (int, error) {
		open, err := r.State.Deliveries.In(u).Find(ctx, uow.Query{
			Where: []uow.Condition{
				uow.Equal("destination", destination),
				uow.Equal("state", string(domain.Undelivered)),
			},
			Limit: recoveryBatch,
		})
		for _, d := range open {
			d.State, d.LastAt, d.LastAnswer = domain.Abandoned, now, "the destination was removed from the configuration"
		}
		return len(open), err
	})
}

// batches runs fn in one unit after another until it finds less than a batch.
func (r *Recovery) batches(ctx context.Context, fn func(ctx context.Context, u *uow.Unit, now time.Time) (int, error)) error {
	for {
		n := 0
		err := r.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) (err error) {
			n, err = fn(ctx, u, r.Clock())
			return err
		})
		if err != nil || n < recoveryBatch {
			return err
		}
	}
}

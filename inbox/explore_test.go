package inbox_test

import (
	"context"
	"errors"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/uowtest"
)

// TestP24_EveryStepMayFail lets every step of a delivery fail, in every way, twice
// over, and has the message delivered again as a broker does: it takes effect once.
func TestP24_EveryStepMayFail(t *testing.T) {
	for name, claim := range map[string]inbox.Claim{"BeforeHandling": inbox.BeforeHandling, "AtCommit": inbox.AtCommit} {
		t.Run(name, func(t *testing.T) {
			records, counters := inbox.NewRecords(), uow.NewCollection[counter]("counters")
			deliver := func(ctx context.Context, db *uow.DB) (inbox.Receipt, error) {
				in, err := inbox.New(db, records, inbox.Config{Consumer: "c", Claim: claim, Order: inbox.ReportDisorder})
				if err != nil {
					return inbox.Receipt{}, err
				}
				_, r, err := inbox.HandleResult(ctx, in, inbox.Message{ID: "m", Stream: "x", Sequence: 1}, func(ctx context.Context, u *uow.Unit) (int, error) {
					return 1, countUp(ctx, u, counters)
				})
				return r, err
			}
			uowtest.Explore(t, uowtest.Exploration{
				Config: uow.Config{Collections: append(records.Collections(), counters)},
				Operation: func(ctx context.Context, x *uowtest.Run) error {
					_, err := deliver(ctx, x.DB)
					return err
				},
				Snapshot: func(ctx context.Context, x *uowtest.Run) (any, error) {
					var n, marks int
					err := x.DB.View(ctx, func(ctx context.Context, v *uow.View) (err error) {
						n, err = counters.From(v).Count(ctx, uow.Query{})
						return err
					})
					if err != nil {
						return nil, err
					}
					listed, _, err := records.List(ctx, x.DB, inbox.Filter{})
					marks = len(listed)
					return [2]int{n, marks}, err
				},
				Invariant: func(ctx context.Context, x *uowtest.Run) error {
					_, first := deliver(ctx, x.DB)
					r, second := deliver(ctx, x.DB)
					if second == nil && !r.Duplicate {
						second = errors.New("the message was handled a second time")
					}
					var n int
					third := x.DB.View(ctx, func(ctx context.Context, v *uow.View) error {
						c, err := counters.From(v).Get(ctx, "c")
						if err == nil {
							n = c.N
						}
						return err
					})
					if n != 1 {
						third = errors.Join(third, errors.New("the message did not take effect once"))
					}
					return errors.Join(first, second, third)
				},
			})
		})
	}
}

package uowtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

func orderChecks() []Check {
	return []Check{
		{
			Name:  "P22_no_message_is_skipped",
			Rule:  "when a message can be read, no message with a smaller position may ever appear: a scanner that goes on from where it was must get each committed message once",
			needs: outboxNeeded,
			run:   noMessageIsSkipped,
		}, {
			Name:  "P22_commit_order_is_stream_order",
			Rule:  "positions must follow the order of commits: the events of one aggregate that many units change must come in the order of their sequence",
			needs: outboxNeeded,
			run:   commitOrderIsStreamOrder,
		}, {
			Name:  "P22_rollbacks_leave_no_trap",
			Rule:  "rolled back units between committed ones must not stop a scanner",
			needs: outboxNeeded,
			run:   rollbacksLeaveNoTrap,
		},
	}
}

// retry runs a unit until no other one gets in its way.
func (k *kit) retry(fn func(ctx context.Context, u *uow.Unit) error) error {
	for range 100_000 {
		if err := k.db.Do(k.Context(), fn); !errors.Is(err, uow.ErrConflict) && !errors.Is(err, uow.ErrRetryable) {
			return err
		}
	}
	return errors.New("uowtest: no success in 100000 attempts")
}

// together runs fn in goroutines and waits for all.
func (k *kit) together(goroutines int, fn func(i int) error) {
	k.Helper()
	errs := make(chan error, goroutines)
	for i := range goroutines {
		go func() { errs <- fn(i) }()
	}
	for range goroutines {
		if err := <-errs; err != nil {
			k.broken("a unit of many at once should go well when it is retried on conflicts; got %v", err)
		}
	}
}

// scanner reads the log as a relay does, until stop is closed and it is at the
// end.
func (k *kit) scanner(stop <-chan struct{}) (all []outbox.Message, err error) {
	log, after := k.log(), int64(0)
	for {
		stopping := false
		select {
		case <-stop:
			stopping = true
		default:
		}
		some, next, err := log.Scan(k.Context(), outbox.Query{After: after, Limit: 7})
		if err != nil {
			return all, err
		}
		all = append(all, some...)
		if stopping && next == after {
			return all, nil
		}
		after = next
	}
}

// scanDuring runs fn while a scanner reads the log, and returns what it got.
func (k *kit) scanDuring(fn func()) []outbox.Message {
	k.Helper()
	stop := make(chan struct{})
	var all []outbox.Message
	var err error
	var done sync.WaitGroup
	done.Go(func() { all, err = k.scanner(stop) })
	fn()
	close(stop)
	done.Wait()
	k.must("Scan", err)
	return all
}

func noMessageIsSkipped(k *kit) {
	const writers, units = 8, 25
	got := k.scanDuring(func() {
		k.together(writers, func(w int) error {
			for i := range units {
				err := k.granted(func() error {
					return k.db.Do(k.Context(), func(_ context.Context, u *uow.Unit) error {
						return errors.Join(
							outbox.Append(u, outbox.Message{ID: fmt.Sprintf("%d-%d-0", w, i), Type: "t"}),
							k.accounts.In(u).Add(&account{ID: fmt.Sprintf("%d-%d", w, i)}),
							outbox.Append(u, outbox.Message{ID: fmt.Sprintf("%d-%d-1", w, i), Type: "t"}),
						)
					})
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	seen, last := map[string]bool{}, int64(0)
	for _, m := range got {
		if m.Position <= last {
			k.broken("positions should grow; got %d after %d", m.Position, last)
		}
		if seen[m.ID] {
			k.broken("each message should come once; %s came again", m.ID)
		}
		seen[m.ID], last = true, m.Position
	}
	if len(seen) != 2*writers*units {
		k.broken("%d messages were committed; the scanner got %d", 2*writers*units, len(seen))
	}
}

func commitOrderIsStreamOrder(k *kit) {
	k.save("a")
	const writers, units = 4, 10
	got := k.scanDuring(func() {
		k.together(writers, func(int) error {
			for range units {
				err := k.retry(func(ctx context.Context, u *uow.Unit) error {
					a, err := k.accounts.In(u).Get(ctx, "a")
					if err == nil {
						a.add(1)
					}
					return err
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	for i, m := range got {
		if m.Sequence != int64(i+1) {
			k.broken("message %d should have the sequence %d; got %d", i, i+1, m.Sequence)
			break
		}
	}
	if len(got) != writers*units {
		k.broken("%d events were committed; the scanner got %d", writers*units, len(got))
	}
	k.wantBalance("a", 100+writers*units, "after all units")
}

func rollbacksLeaveNoTrap(k *kit) {
	log, after := k.log(), int64(0)
	for i := range 5 {
		for j, result := range []error{errBoom, nil, errBoom} {
			err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
				k.must("Append", outbox.Append(u, outbox.Message{ID: fmt.Sprint(i, j), Type: "t"}))
				return errors.Join(u.Flush(ctx), result)
			})
			if !errors.Is(err, result) {
				k.broken("the unit should end with %v; got %v", result, err)
			}
		}
		got, next, err := log.Scan(k.Context(), outbox.Query{After: after, Limit: 10})
		k.must("Scan", err)
		if len(got) != 1 || got[0].ID != fmt.Sprint(i, 1) || next < got[0].Position {
			k.broken("after a commit between two rollbacks the scanner should get its one message; got %v, next %d", got, next)
			return
		}
		after = next
	}
}

package uowtest

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// Faults of the sharing of cursors, each named after what it does wrong.

func scanIgnoresShare() fault {
	return fault{scan: func(s *brokenStore, ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error) {
		query.Share = outbox.Share{}
		return s.Log.Scan(ctx, query)
	}}
}

func heldIgnoresShare() fault {
	return fault{held: func(s *brokenStore, ctx context.Context, cursor string, filter outbox.HeldFilter) ([]outbox.Held, error) {
		filter.Share = outbox.Share{}
		return s.Log.Held(ctx, cursor, filter)
	}}
}

// acquireForces gives everybody the lease.
func acquireForces() fault {
	return fault{acquire: func(s *brokenStore, ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
		claim.Force = true
		return s.Log.Acquire(ctx, claim)
	}}
}

// acquireNeverForces waits for leases to end.
func acquireNeverForces() fault {
	return fault{acquire: func(s *brokenStore, ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
		claim.Force = false
		return s.Log.Acquire(ctx, claim)
	}}
}

func acquireTellsNoTime() fault {
	return fault{acquire: func(s *brokenStore, ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
		lease, err := s.Log.Acquire(ctx, claim)
		lease.Now = time.Time{}
		return lease, err
	}}
}

func leasesNeverExpire() fault {
	return fault{acquire: func(s *brokenStore, ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
		if claim.TTL > 0 {
			claim.TTL = time.Hour
		}
		return s.Log.Acquire(ctx, claim)
	}}
}

func settleExtendsNothing() fault {
	return fault{settle: func(s *brokenStore, ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
		lease.TTL = 0
		return s.Log.Settle(ctx, lease, settlement)
	}}
}

func releaseDoesNothing() fault {
	return fault{release: func(*brokenStore, context.Context, outbox.Lease) error { return nil }}
}

// releaseIgnoresEpochs ends the lease of whoever has it.
func releaseIgnoresEpochs() fault {
	return fault{release: func(s *brokenStore, ctx context.Context, lease outbox.Lease) error {
		newest, err := s.Log.Acquire(ctx, outbox.Claim{Cursor: lease.Cursor, Force: true})
		if err != nil {
			return err
		}
		return s.Log.Release(ctx, newest)
	}}
}

func membersStay() fault {
	return fault{join: func(s *brokenStore, ctx context.Context, cursor, member string, _ time.Duration) ([]string, error) {
		return s.Log.Join(ctx, cursor, member, time.Hour)
	}}
}

// partitionsAreOne keeps one position for all partitions.
func partitionsAreOne() fault {
	return fault{acquire: func(s *brokenStore, ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
		if claim.Partition == 1 {
			claim.Partition, claim.Force = 0, true
		}
		return s.Log.Acquire(ctx, claim)
	}}
}

// acquireIgnoresPartitions gives a cursor another number of partitions as it likes.
func acquireIgnoresPartitions() fault {
	return fault{acquire: func(s *brokenStore, ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
		lease, err := s.Log.Acquire(ctx, claim)
		if errors.Is(err, outbox.ErrPartitions) {
			if err = s.Log.Drop(ctx, claim.Cursor); err == nil {
				lease, err = s.Log.Acquire(ctx, claim)
			}
		}
		return lease, err
	}}
}

// resplitBegins makes the new partitions at the log's beginning.
func resplitBegins() fault {
	return fault{resplit: func(s *brokenStore, ctx context.Context, leases []outbox.Lease, partitions int) error {
		if err := s.Log.Resplit(ctx, leases, partitions); err != nil || len(leases) == partitions {
			return err
		}
		for i := range partitions {
			lease, err := s.Log.Acquire(ctx, outbox.Claim{Cursor: leases[0].Cursor, Partition: i, Partitions: partitions, Force: true})
			if err == nil {
				err = s.Log.Settle(ctx, lease, outbox.Settlement{Position: 1})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}}
}

// resplitForgets what the cursor holds.
func resplitForgets() fault {
	return fault{resplit: func(s *brokenStore, ctx context.Context, leases []outbox.Lease, partitions int) error {
		held, err := s.Log.Held(ctx, leases[0].Cursor, outbox.HeldFilter{})
		for _, h := range held {
			if err == nil {
				_, err = s.Log.Discard(ctx, leases[0].Cursor, []int64{h.Position})
			}
		}
		return errors.Join(err, s.Log.Resplit(ctx, leases, partitions))
	}}
}

func settleIgnoresFrom() fault {
	return fault{settle: func(s *brokenStore, ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
		settlement.From = 0
		return s.Log.Settle(ctx, lease, settlement)
	}}
}

// settleTakesBeginning takes a settlement that begins at the beginning for one that says
// not where it begins.
func settleTakesBeginning() fault {
	return fault{settle: func(s *brokenStore, ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
		settlement.From = max(settlement.From, 0)
		return s.Log.Settle(ctx, lease, settlement)
	}}
}

// settleIgnoresLogs takes each log for the lease's.
func settleIgnoresLogs() fault {
	return fault{settle: func(s *brokenStore, ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
		stats, err := s.Log.Stats(ctx)
		if err != nil {
			return err
		}
		lease.Log = stats.Log
		return s.Log.Settle(ctx, lease, settlement)
	}}
}

// trimIgnoresPartitions takes the partition that is furthest for the cursor.
func trimIgnoresPartitions() fault {
	return fault{trim: func(s *brokenStore, ctx context.Context, before time.Time, limit int) (int, error) {
		for i := range 2 {
			lease, err := s.Log.Acquire(ctx, outbox.Claim{Cursor: "relay", Partition: i, Partitions: 2, Force: true})
			if err != nil {
				return 0, err
			}
			stats, err := s.Log.Stats(ctx)
			if err == nil {
				err = s.Log.Settle(ctx, lease, outbox.Settlement{Position: stats.End})
			}
			if err != nil {
				return 0, err
			}
		}
		return s.Log.Trim(ctx, before, limit)
	}}
}

// delaysNothing takes messages that should wait for such that need not.
func delaysNothing() fault {
	return changes(func(_ *brokenStore, cs *driver.ChangeSet) {
		for i := range cs.Messages {
			cs.Messages[i].At = time.Time{}
		}
	})
}

func promoteIgnoresLimit() fault {
	return fault{promote: func(s *brokenStore, ctx context.Context, _ int) (outbox.Promotion, error) {
		return s.Log.Promote(ctx, 1<<30)
	}}
}

// promoteRepeats brings a message to the log a second time.
func promoteRepeats() fault {
	return fault{promote: func(s *brokenStore, ctx context.Context, limit int) (outbox.Promotion, error) {
		p, err := s.Log.Promote(ctx, limit)
		if err != nil || p.Promoted == 0 {
			return p, err
		}
		messages, _, err := s.Log.Scan(ctx, outbox.Query{Limit: 1})
		if err != nil {
			return p, err
		}
		return p, s.again(&driver.ChangeSet{Unit: rand.Text(), Messages: messages})
	}}
}

package uowtest

import (
	"context"
	"time"

	"github.com/uow-go/uow/outbox"
)

// FaultyLog returns an outbox log between which and its user faults happen.
func FaultyLog(log outbox.Log, f Faults) outbox.Log { return faultyLog{log, f} }

// faultyLog is an outbox.Log.
type faultyLog struct {
	log    outbox.Log
	faults Faults
}

// Acquire implements outbox.Log.
func (l faultyLog) Acquire(ctx context.Context, claim outbox.Claim) (lease outbox.Lease, err error) {
	err = l.faults.around(ctx, Call{Method: "Acquire"}, func() (err error) {
		lease, err = l.log.Acquire(ctx, claim)
		return err
	})
	return lease, err
}

// Release implements outbox.Log.
func (l faultyLog) Release(ctx context.Context, lease outbox.Lease) error {
	return l.faults.around(ctx, Call{Method: "Release"}, func() error { return l.log.Release(ctx, lease) })
}

// Join implements outbox.Log.
func (l faultyLog) Join(ctx context.Context, cursor, member string, ttl time.Duration) (members []string, err error) {
	err = l.faults.around(ctx, Call{Method: "Join"}, func() (err error) {
		members, err = l.log.Join(ctx, cursor, member, ttl)
		return err
	})
	return members, err
}

// Resplit implements outbox.Log.
func (l faultyLog) Resplit(ctx context.Context, leases []outbox.Lease, partitions int) error {
	return l.faults.around(ctx, Call{Method: "Resplit"}, func() error { return l.log.Resplit(ctx, leases, partitions) })
}

// Scan implements outbox.Log.
func (l faultyLog) Scan(ctx context.Context, query outbox.Query) (messages []outbox.Message, next int64, err error) {
	err = l.faults.around(ctx, Call{Method: "Scan"}, func() (err error) {
		messages, next, err = l.log.Scan(ctx, query)
		return err
	})
	return messages, next, err
}

// Held implements outbox.Log.
func (l faultyLog) Held(ctx context.Context, cursor string, filter outbox.HeldFilter) (held []outbox.Held, err error) {
	err = l.faults.around(ctx, Call{Method: "Held"}, func() (err error) {
		held, err = l.log.Held(ctx, cursor, filter)
		return err
	})
	return held, err
}

// Settle implements outbox.Log.
func (l faultyLog) Settle(ctx context.Context, lease outbox.Lease, s outbox.Settlement) error {
	return l.faults.around(ctx, Call{Method: "Settle", Settlement: &s}, func() error { return l.log.Settle(ctx, lease, s) })
}

// Redrive implements outbox.Log.
func (l faultyLog) Redrive(ctx context.Context, cursor string, positions []int64) (n int, err error) {
	err = l.faults.around(ctx, Call{Method: "Redrive"}, func() (err error) {
		n, err = l.log.Redrive(ctx, cursor, positions)
		return err
	})
	return n, err
}

// Discard implements outbox.Log.
func (l faultyLog) Discard(ctx context.Context, cursor string, positions []int64) (n int, err error) {
	err = l.faults.around(ctx, Call{Method: "Discard"}, func() (err error) {
		n, err = l.log.Discard(ctx, cursor, positions)
		return err
	})
	return n, err
}

// Promote implements outbox.Log.
func (l faultyLog) Promote(ctx context.Context, limit int) (p outbox.Promotion, err error) {
	err = l.faults.around(ctx, Call{Method: "Promote"}, func() (err error) {
		p, err = l.log.Promote(ctx, limit)
		return err
	})
	return p, err
}

// Undelay implements outbox.Log.
func (l faultyLog) Undelay(ctx context.Context, ids []string) (n int, err error) {
	err = l.faults.around(ctx, Call{Method: "Undelay"}, func() (err error) {
		n, err = l.log.Undelay(ctx, ids)
		return err
	})
	return n, err
}

// Park implements outbox.Log.
func (l faultyLog) Park(ctx context.Context, cursor string, positions []int64, reason string) (n int, err error) {
	err = l.faults.around(ctx, Call{Method: "Park"}, func() (err error) {
		n, err = l.log.Park(ctx, cursor, positions, reason)
		return err
	})
	return n, err
}

// Replay implements outbox.Log.
func (l faultyLog) Replay(ctx context.Context, cursor string, positions []int64) (n int, err error) {
	err = l.faults.around(ctx, Call{Method: "Replay"}, func() (err error) {
		n, err = l.log.Replay(ctx, cursor, positions)
		return err
	})
	return n, err
}

// Trim implements outbox.Log.
func (l faultyLog) Trim(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = l.faults.around(ctx, Call{Method: "Trim"}, func() (err error) {
		n, err = l.log.Trim(ctx, before, limit)
		return err
	})
	return n, err
}

// Stats implements outbox.Log.
func (l faultyLog) Stats(ctx context.Context) (stats outbox.Stats, err error) {
	err = l.faults.around(ctx, Call{Method: "Stats"}, func() (err error) {
		stats, err = l.log.Stats(ctx)
		return err
	})
	return stats, err
}

// Drop implements outbox.Log.
func (l faultyLog) Drop(ctx context.Context, cursor string) error {
	return l.faults.around(ctx, Call{Method: "Drop"}, func() error { return l.log.Drop(ctx, cursor) })
}

// Subscribe implements outbox.Log. No fault happens to it.
func (l faultyLog) Subscribe(fn func(recent bool)) (cancel func()) { return l.log.Subscribe(fn) }

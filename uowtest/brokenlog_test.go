package uowtest

import (
	"context"
	"time"

	"github.com/uow-go/uow/outbox"
)

func (s *brokenStore) Scan(ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error) {
	if s.closed.Load() {
		return nil, query.After, errClosed
	}
	if s.fault.scan != nil {
		return s.fault.scan(s, ctx, query)
	}
	return s.Log.Scan(ctx, query)
}

func (s *brokenStore) Acquire(ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
	if s.closed.Load() {
		return outbox.Lease{}, errClosed
	}
	if s.fault.acquire != nil {
		return s.fault.acquire(s, ctx, claim)
	}
	return s.Log.Acquire(ctx, claim)
}

func (s *brokenStore) Release(ctx context.Context, lease outbox.Lease) error {
	if s.closed.Load() {
		return errClosed
	}
	if s.fault.release != nil {
		return s.fault.release(s, ctx, lease)
	}
	return s.Log.Release(ctx, lease)
}

func (s *brokenStore) Join(ctx context.Context, cursor, member string, ttl time.Duration) ([]string, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	if s.fault.join != nil {
		return s.fault.join(s, ctx, cursor, member, ttl)
	}
	return s.Log.Join(ctx, cursor, member, ttl)
}

func (s *brokenStore) Resplit(ctx context.Context, leases []outbox.Lease, partitions int) error {
	if s.closed.Load() {
		return errClosed
	}
	if s.fault.resplit != nil {
		return s.fault.resplit(s, ctx, leases, partitions)
	}
	return s.Log.Resplit(ctx, leases, partitions)
}

func (s *brokenStore) Settle(ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
	if s.closed.Load() {
		return errClosed
	}
	if s.fault.settle != nil {
		return s.fault.settle(s, ctx, lease, settlement)
	}
	return s.Log.Settle(ctx, lease, settlement)
}

func (s *brokenStore) Promote(ctx context.Context, limit int) (outbox.Promotion, error) {
	if s.closed.Load() {
		return outbox.Promotion{}, errClosed
	}
	if s.fault.promote != nil {
		return s.fault.promote(s, ctx, limit)
	}
	return s.Log.Promote(ctx, limit)
}

func (s *brokenStore) Undelay(ctx context.Context, ids []string) (int, error) {
	if s.closed.Load() {
		return 0, errClosed
	}
	return s.Log.Undelay(ctx, ids)
}

func (s *brokenStore) Held(ctx context.Context, cursor string, filter outbox.HeldFilter) ([]outbox.Held, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	if s.fault.held != nil {
		return s.fault.held(s, ctx, cursor, filter)
	}
	return s.Log.Held(ctx, cursor, filter)
}

func (s *brokenStore) Redrive(ctx context.Context, cursor string, positions []int64) (int, error) {
	if s.closed.Load() {
		return 0, errClosed
	}
	if s.fault.redrive != nil {
		return s.fault.redrive(s, ctx, cursor, positions)
	}
	return s.Log.Redrive(ctx, cursor, positions)
}

func (s *brokenStore) Discard(ctx context.Context, cursor string, positions []int64) (int, error) {
	if s.closed.Load() {
		return 0, errClosed
	}
	if s.fault.discard != nil {
		return s.fault.discard(s, ctx, cursor, positions)
	}
	return s.Log.Discard(ctx, cursor, positions)
}

func (s *brokenStore) Park(ctx context.Context, cursor string, positions []int64, reason string) (int, error) {
	if s.closed.Load() {
		return 0, errClosed
	}
	if s.fault.park != nil {
		return s.fault.park(s, ctx, cursor, positions, reason)
	}
	return s.Log.Park(ctx, cursor, positions, reason)
}

func (s *brokenStore) Replay(ctx context.Context, cursor string, positions []int64) (int, error) {
	if s.closed.Load() {
		return 0, errClosed
	}
	if s.fault.replay != nil {
		return s.fault.replay(s, ctx, cursor, positions)
	}
	return s.Log.Replay(ctx, cursor, positions)
}

func (s *brokenStore) Trim(ctx context.Context, before time.Time, limit int) (int, error) {
	if s.closed.Load() {
		return 0, errClosed
	}
	if s.fault.trim != nil {
		return s.fault.trim(s, ctx, before, limit)
	}
	return s.Log.Trim(ctx, before, limit)
}

func (s *brokenStore) Stats(ctx context.Context) (outbox.Stats, error) {
	if s.closed.Load() {
		return outbox.Stats{}, errClosed
	}
	if s.fault.stats != nil {
		return s.fault.stats(s, ctx)
	}
	return s.Log.Stats(ctx)
}

func (s *brokenStore) Drop(ctx context.Context, cursor string) error {
	if s.closed.Load() {
		return errClosed
	}
	return s.Log.Drop(ctx, cursor)
}

package uowtest

import (
	"context"
	"slices"
	"time"

	"github.com/uow-go/uow/outbox"
)

// Faults of the log, each named after what it does wrong.

// scanSkipsGaps goes past a message that it shows only later, as happens when
// positions are given before the commit, by a sequence.
func scanSkipsGaps() fault {
	return fault{scan: func(s *brokenStore, ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		got, next, err := s.Log.Scan(ctx, query)
		got = slices.DeleteFunc(got, func(m outbox.Message) bool {
			early := m.Position%10 == 7 && !s.seen[m.Position]
			s.seen[m.Position] = true
			return early
		})
		return got, next, err
	}}
}

// scanLosesEvents leaves out the third event of each stream.
func scanLosesEvents() fault {
	return fault{scan: func(s *brokenStore, ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error) {
		got, next, err := s.Log.Scan(ctx, query)
		return slices.DeleteFunc(got, func(m outbox.Message) bool { return m.Sequence == 3 }), next, err
	}}
}

// scanShowsOnce shows each message to the first who asks.
func scanShowsOnce() fault {
	return fault{scan: func(s *brokenStore, ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error) {
		got, next, err := s.Log.Scan(ctx, query)
		got = slices.DeleteFunc(got, func(m outbox.Message) bool { return s.seen[m.Position] })
		for _, m := range got {
			s.seen[m.Position] = true
		}
		return got, next, err
	}}
}

func scanIgnoresLimit() fault {
	return fault{scan: func(s *brokenStore, ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error) {
		query.Limit = 1 << 30
		return s.Log.Scan(ctx, query)
	}}
}

// recentWithoutHeaders keeps less in memory than the log has.
func recentWithoutHeaders() fault {
	return recentScan(func(_ *brokenStore, got []outbox.Message, next int64) ([]outbox.Message, int64) {
		for i := range got {
			got[i].Headers = nil
		}
		return got, next
	})
}

// recentPassesOthers goes past every other message, as if it were of another process.
func recentPassesOthers() fault {
	return recentScan(func(_ *brokenStore, got []outbox.Message, next int64) ([]outbox.Message, int64) {
		return slices.DeleteFunc(got, func(m outbox.Message) bool { return m.Position%2 == 0 }), next
	})
}

// recentStopsEarly does not know the last message, though it says so.
func recentStopsEarly() fault {
	return recentScan(func(_ *brokenStore, got []outbox.Message, next int64) ([]outbox.Message, int64) {
		if n := len(got); n > 0 {
			return got[:n-1], next - 1
		}
		return got, next
	})
}

func recentScan(change func(s *brokenStore, got []outbox.Message, next int64) ([]outbox.Message, int64)) fault {
	return fault{scan: func(s *brokenStore, ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error) {
		got, next, err := s.Log.Scan(ctx, query)
		if query.Recent && err == nil {
			got, next = change(s, got, next)
		}
		return got, next, err
	}}
}

func acquireKeepsEpoch() fault {
	return fault{acquire: func(s *brokenStore, ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
		lease, err := s.Log.Acquire(ctx, claim)
		lease.Epoch = 1
		return lease, err
	}}
}

// settleIgnoresEpochs takes each lease for the newest.
func settleIgnoresEpochs() fault {
	return fault{
		acquire: func(s *brokenStore, ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
			lease, err := s.Log.Acquire(ctx, claim)
			s.epochs[lease.Row()] = lease.Epoch
			return lease, err
		},
		settle: func(s *brokenStore, ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
			lease.Epoch = s.epochs[lease.Row()]
			return s.Log.Settle(ctx, lease, settlement)
		},
	}
}

func settleIgnoresRelease() fault {
	return fault{settle: func(s *brokenStore, ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
		settlement.Release = nil
		return s.Log.Settle(ctx, lease, settlement)
	}}
}

// sharesCursors has one cursor whatever its name.
func sharesCursors() fault {
	const one = "relay"
	return fault{
		acquire: func(s *brokenStore, ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
			claim.Cursor = one
			return s.Log.Acquire(ctx, claim)
		},
		held: func(s *brokenStore, ctx context.Context, _ string, filter outbox.HeldFilter) ([]outbox.Held, error) {
			return s.Log.Held(ctx, one, filter)
		},
		redrive: func(s *brokenStore, ctx context.Context, _ string, positions []int64) (int, error) {
			return s.Log.Redrive(ctx, one, positions)
		},
		discard: func(s *brokenStore, ctx context.Context, _ string, positions []int64) (int, error) {
			return s.Log.Discard(ctx, one, positions)
		},
	}
}

func heldIgnoresFilter() fault {
	return fault{held: func(s *brokenStore, ctx context.Context, cursor string, _ outbox.HeldFilter) ([]outbox.Held, error) {
		return s.Log.Held(ctx, cursor, outbox.HeldFilter{})
	}}
}

func redriveDoesNothing() fault {
	return fault{redrive: func(*brokenStore, context.Context, string, []int64) (int, error) { return 1, nil }}
}

// parkLosesReason parks without saying why.
func parkLosesReason() fault {
	return fault{park: func(s *brokenStore, ctx context.Context, cursor string, positions []int64, _ string) (int, error) {
		return s.Log.Park(ctx, cursor, positions, "")
	}}
}

// parkStopsNothing parks only what is held.
func parkStopsNothing() fault {
	return fault{park: func(s *brokenStore, ctx context.Context, cursor string, positions []int64, reason string) (int, error) {
		held, err := s.Held(ctx, cursor, outbox.HeldFilter{})
		if err != nil {
			return 0, err
		}
		var named []int64
		for _, h := range held {
			if slices.Contains(positions, h.Position) {
				named = append(named, h.Position)
			}
		}
		return s.Log.Park(ctx, cursor, named, reason)
	}}
}

// parkStopsByFirst stops each key by the first of the messages named.
func parkStopsByFirst() fault {
	return fault{park: func(s *brokenStore, ctx context.Context, cursor string, positions []int64, reason string) (total int, err error) {
		for _, position := range slices.Sorted(slices.Values(positions)) {
			n, err := s.Log.Park(ctx, cursor, []int64{position}, reason)
			if err != nil {
				return 0, err
			}
			total += n
		}
		return total, nil
	}}
}

// replaysNothing says that it did.
func replaysNothing() fault {
	return fault{replay: func(_ *brokenStore, _ context.Context, _ string, positions []int64) (int, error) {
		return len(positions), nil
	}}
}

// replaysAnything takes each message for one that was delivered.
func replaysAnything() fault {
	return fault{replay: func(s *brokenStore, ctx context.Context, cursor string, positions []int64) (int, error) {
		stats, err := s.Log.Stats(ctx)
		if err != nil {
			return 0, err
		}
		for _, c := range stats.Cursors {
			for _, p := range c.Parts {
				lease := outbox.Lease{Cursor: c.Cursor, Partition: p.Partition, Partitions: c.Partitions, Epoch: p.Epoch, Log: stats.Log}
				if err := s.Log.Settle(ctx, lease, outbox.Settlement{Position: stats.End}); err != nil {
					return 0, err
				}
			}
		}
		return s.Log.Replay(ctx, cursor, positions)
	}}
}

func statsForgetParts() fault {
	return fault{stats: func(s *brokenStore, ctx context.Context) (outbox.Stats, error) {
		stats, err := s.Log.Stats(ctx)
		for i := range stats.Cursors {
			stats.Cursors[i].Parts, stats.Cursors[i].Members = nil, nil
		}
		return stats, err
	}}
}

func discardCountsAll() fault {
	return fault{discard: func(s *brokenStore, ctx context.Context, cursor string, positions []int64) (int, error) {
		_, err := s.Log.Discard(ctx, cursor, positions)
		return len(positions), err
	}}
}

// trimsUndelivered takes each message for delivered.
func trimsUndelivered() fault {
	return fault{trim: func(s *brokenStore, ctx context.Context, before time.Time, limit int) (int, error) {
		stats, err := s.Log.Stats(ctx)
		if err != nil {
			return 0, err
		}
		for _, c := range append(stats.Cursors, outbox.CursorStats{Cursor: "trimmer"}) {
			lease := outbox.Lease{Cursor: c.Cursor, Epoch: c.Epoch, Log: stats.Log}
			if c.Epoch == 0 {
				lease, _ = s.Log.Acquire(ctx, outbox.Claim{Cursor: c.Cursor, Force: true})
			}
			if err := s.Log.Settle(ctx, lease, outbox.Settlement{Position: stats.End}); err != nil {
				return 0, err
			}
		}
		return s.Log.Trim(ctx, before, limit)
	}}
}

// trimsHeld lets go of all that is held.
func trimsHeld() fault {
	return fault{trim: func(s *brokenStore, ctx context.Context, before time.Time, limit int) (int, error) {
		held, err := s.Log.Held(ctx, "relay", outbox.HeldFilter{})
		if err != nil {
			return 0, err
		}
		for _, h := range held {
			if _, err := s.Log.Discard(ctx, "relay", []int64{h.Position}); err != nil {
				return 0, err
			}
		}
		return s.Log.Trim(ctx, before, limit)
	}}
}

func trimIgnoresLimit() fault {
	return fault{trim: func(s *brokenStore, ctx context.Context, before time.Time, _ int) (int, error) {
		return s.Log.Trim(ctx, before, 1<<30)
	}}
}

func trimIgnoresTime() fault {
	return fault{trim: func(s *brokenStore, ctx context.Context, _ time.Time, limit int) (int, error) {
		return s.Log.Trim(ctx, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), limit)
	}}
}

// restartsPositions begins at 1 again when the log is empty.
func restartsPositions() fault {
	return fault{
		trim: func(s *brokenStore, ctx context.Context, before time.Time, limit int) (int, error) {
			n, err := s.Log.Trim(ctx, before, limit)
			if stats, _ := s.Log.Stats(ctx); stats.Messages == 0 {
				s.shift = stats.End
			}
			return n, err
		},
		scan: func(s *brokenStore, ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error) {
			query.After += s.shift
			got, next, err := s.Log.Scan(ctx, query)
			for i := range got {
				got[i].Position -= s.shift
			}
			return got, next - s.shift, err
		},
	}
}

func statsForgetHeld() fault {
	return fault{stats: func(s *brokenStore, ctx context.Context) (outbox.Stats, error) {
		stats, err := s.Log.Stats(ctx)
		for i := range stats.Cursors {
			stats.Cursors[i].Parked = 0
		}
		return stats, err
	}}
}

package mvcc

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/uow-go/uow/outbox"
)

// Acquire implements outbox.Log. The clock of leases is the process's, which is the
// only one that has the log.
func (s *Store) Acquire(ctx context.Context, claim outbox.Claim) (lease outbox.Lease, err error) {
	if err := claim.Check(); err != nil {
		return outbox.Lease{}, s.errorf("acquire: %w", err)
	}
	err = s.changeLog(ctx, func(l *Log) (change Change, err error) {
		lease = claim.Lease()
		if change, err = l.makeCursor(claim.Cursor, lease.Partitions); err != nil {
			return Change{}, s.errorf("acquire: %w", err)
		}
		name := lease.Row()
		if c := l.Cursors[name]; c != nil {
			now := time.Now()
			if !claim.Force && c.owner != claim.Owner && now.Before(c.expires) {
				return Change{}, s.errorf("acquire: %w", outbox.ErrLeaseHeld)
			}
			if c.Position > l.End {
				return Change{}, s.errorf("acquire: the cursor is at %d, and the log ends at %d: %w", c.Position, l.End, outbox.ErrRestored)
			}
			lease.Position = c.Position
		}
		lease.Epoch, lease.Log, lease.Now = l.Epochs+1, l.ID, time.Now()
		change.Cursors = slices.DeleteFunc(change.Cursors, func(c CursorChange) bool { return c.Name == name })
		change.Cursors = append(change.Cursors, CursorChange{
			Name: name, Position: lease.Position, Epoch: lease.Epoch, owner: claim.Owner, expires: time.Now().Add(claim.TTL),
		})
		return change, nil
	})
	if err != nil {
		return outbox.Lease{}, err
	}
	return lease, nil
}

// makeCursor returns the change that makes a cursor that is new, and refuses one that
// has another number of partitions.
func (l *Log) makeCursor(name string, partitions int) (change Change, err error) {
	c, known := l.Cursors[name]
	switch {
	case known && max(c.Split, 1) != partitions:
		return Change{}, outbox.ErrPartitions
	case !known && partitions > 1:
		change.Cursors = append(change.Cursors, CursorChange{Name: name, Split: partitions})
		for _, row := range partitionRows(name, partitions) {
			change.Cursors = append(change.Cursors, CursorChange{Name: row})
		}
	}
	return change, nil
}

// partitionRows returns the cursors that a split cursor's partitions are.
func partitionRows(name string, split int) (rows []string) {
	for i := range split {
		rows = append(rows, outbox.PartitionRow(name, i, split))
	}
	return rows
}

// leased returns the cursor that a lease is the newest of.
func (s *Store) leased(l *Log, lease outbox.Lease) (*Cursor, error) {
	c, ok := l.Cursors[lease.Row()]
	if !ok || c.Epoch != lease.Epoch || c.Split > 0 {
		return nil, outbox.ErrLeaseLost
	}
	if lease.Log != l.ID {
		return nil, s.errorf("settle: the log is %s, the lease of %s: %w", l.ID, lease.Log, outbox.ErrRestored)
	}
	return c, nil
}

// Release implements outbox.Log.
func (s *Store) Release(ctx context.Context, lease outbox.Lease) error {
	return s.changeLog(ctx, func(l *Log) (Change, error) {
		if c, err := s.leased(l, lease); err == nil {
			c.expires = time.Time{}
		}
		return Change{}, nil
	})
}

// Join implements outbox.Log.
func (s *Store) Join(ctx context.Context, cursor, member string, ttl time.Duration) (members []string, err error) {
	err = s.changeLog(ctx, func(l *Log) (Change, error) {
		all, now := l.members[cursor], time.Now()
		if all == nil {
			all = map[string]time.Time{}
		}
		all[member] = now.Add(ttl)
		maps.DeleteFunc(all, func(_ string, until time.Time) bool { return !now.Before(until) })
		if l.members == nil {
			l.members = map[string]map[string]time.Time{}
		}
		l.members[cursor] = all
		members = slices.Sorted(maps.Keys(all))
		return Change{}, nil
	})
	return members, err
}

// Resplit implements outbox.Log.
func (s *Store) Resplit(ctx context.Context, leases []outbox.Lease, partitions int) error {
	if err := outbox.CheckResplit(leases, partitions); err != nil {
		return s.errorf("resplit: %w", err)
	}
	return s.changeLog(ctx, func(l *Log) (change Change, err error) {
		name, position := leases[0].Cursor, int64(-1)
		for _, lease := range leases {
			c, err := s.leased(l, lease)
			if err != nil {
				return Change{}, err
			}
			if position >= 0 && c.Position != position {
				return Change{}, s.errorf("resplit: the partitions of %q are at different positions", name)
			}
			position = c.Position
		}
		if len(leases) == partitions {
			return Change{}, nil
		}
		if len(leases) > 1 {
			for _, row := range partitionRows(name, len(leases)) {
				change.Cursors = append(change.Cursors, CursorChange{Name: row, Dropped: true})
			}
		}
		if partitions == 1 {
			change.Cursors = append(change.Cursors, CursorChange{Name: name, Position: position, Epoch: l.Epochs + 1})
			return change, nil
		}
		change.Cursors = append(change.Cursors, CursorChange{Name: name, Split: partitions})
		for _, row := range partitionRows(name, partitions) {
			change.Cursors = append(change.Cursors, CursorChange{Name: row, Position: position, Epoch: l.Epochs + 1})
		}
		return change, nil
	})
}

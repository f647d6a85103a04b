package mvcc

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/uow-go/uow/outbox"
)

// changeLog makes what fn, which is given the log as it is, says to change.
func (s *Store) changeLog(ctx context.Context, fn func(*Log) (Change, error)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.change(&request{log: func() (Change, error) { return fn(&s.log) }})
}

// cursorChange returns a change of one cursor.
func cursorChange(name string, c CursorChange) Change {
	c.Name = name
	return Change{Cursors: []CursorChange{c}}
}

// Settle implements outbox.Log.
func (s *Store) Settle(ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
	return s.changeLog(ctx, func(l *Log) (Change, error) {
		c, err := s.leased(l, lease)
		if err != nil {
			return Change{}, err
		}
		if at, moved, asked := settlement.Left(); asked && c.Position != at && c.Position != moved {
			return Change{}, s.errorf("settle: it is at %d, and was left at %d: %w", c.Position, at, outbox.ErrRestored)
		}
		c.expires = time.Now().Add(lease.TTL)
		holder := l.Cursors[lease.Cursor]
		holds, err := s.holds(c.Position, holder, settlement.Hold)
		if err != nil {
			return Change{}, err
		}
		change := CursorChange{Name: lease.Cursor, Position: holder.Position, Epoch: holder.Epoch, Split: holder.Split, Hold: holds}
		for _, position := range settlement.Release {
			_, held := holder.Held[position]
			if held || slices.ContainsFunc(holds, func(h outbox.Hold) bool { return h.Position == position }) {
				change.Gone = append(change.Gone, position)
			}
		}
		return positionChange(lease, c, change, settlement.Position), nil
	})
}

// positionChange returns the change of a partition's position, and of what its cursor holds.
func positionChange(lease outbox.Lease, c *Cursor, change CursorChange, position int64) (all Change) {
	moved := position > 0 && position != c.Position
	if lease.Partitions <= 1 && moved {
		change.Position = position
	}
	if len(change.Hold) > 0 || len(change.Gone) > 0 || lease.Partitions <= 1 && moved {
		all.Cursors = append(all.Cursors, change)
	}
	if lease.Partitions > 1 && moved {
		all.Cursors = append(all.Cursors, CursorChange{Name: lease.Row(), Position: position, Epoch: c.Epoch})
	}
	return all
}

// holds returns what a settlement holds: not what was discarded in the meantime.
func (s *Store) holds(passed int64, c *Cursor, all []outbox.Hold) ([]outbox.Hold, error) {
	var holds []outbox.Hold
	for _, h := range all {
		old, held := c.Held[h.Position]
		if h.Position <= passed && !held {
			continue
		}
		if _, ok := s.log.message(h.Position); !ok {
			return nil, s.errorf("settle: there is no message at position %d", h.Position)
		}
		if held {
			h.Since = old.Since
		}
		holds = append(holds, h)
	}
	return holds, nil
}

// Held implements outbox.Log.
func (s *Store) Held(ctx context.Context, name string, filter outbox.HeldFilter) (held []outbox.Held, err error) {
	err = s.reading(ctx, func() error {
		c, ok := s.log.Cursors[name]
		if !ok {
			return nil
		}
		for _, position := range slices.Sorted(maps.Keys(c.Held)) {
			if filter.Limit > 0 && len(held) == filter.Limit {
				break
			}
			h := c.Held[position]
			if m, ok := s.log.message(position); ok && selects(filter, h) && filter.Share.Has(m.Key, m.ID) {
				held = append(held, outbox.Held{Hold: h, Message: copyMessage(m)})
			}
		}
		return nil
	})
	return held, err
}

func selects(f outbox.HeldFilter, h outbox.Hold) bool {
	switch {
	case h.Position <= f.After:
		return false
	case f.State != "" && h.State != f.State:
		return false
	case f.Key != nil && h.Key != *f.Key:
		return false
	case !f.DueAt.IsZero() && (h.State != outbox.Retrying || h.NextAt.After(f.DueAt)):
		return false
	}
	return true
}

// Redrive implements outbox.Log.
func (s *Store) Redrive(ctx context.Context, name string, positions []int64) (int, error) {
	return s.changeHeld(ctx, name, positions, func(change *CursorChange, h outbox.Hold) {
		if h.State == outbox.Parked {
			h.State, h.Attempts, h.NextAt = outbox.Retrying, 0, h.Since
			change.Hold = append(change.Hold, h)
		}
	})
}

// Discard implements outbox.Log.
func (s *Store) Discard(ctx context.Context, name string, positions []int64) (int, error) {
	return s.changeHeld(ctx, name, positions, func(change *CursorChange, h outbox.Hold) {
		change.Gone = append(change.Gone, h.Position)
	})
}

// Park implements outbox.Log.
func (s *Store) Park(ctx context.Context, name string, positions []int64, reason string) (int, error) {
	return s.changeCursor(ctx, name, positions, func(l *Log, c *Cursor, named []int64, change *CursorChange) {
		holding := map[string]bool{} // by key
		for _, position := range slices.Sorted(maps.Keys(c.Held)) {
			h := c.Held[position]
			if _, meant := slices.BinarySearch(named, position); meant && h.State != outbox.Parked && !holding[h.Key] {
				h.State, h.Reason, h.NextAt = outbox.Parked, reason, time.Time{}
				change.Hold = append(change.Hold, h)
			}
			holding[h.Key] = h.Key != ""
		}
		for _, position := range slices.Backward(named) {
			if h, delivered := l.again(name, position); delivered && h.Key != "" && !holding[h.Key] {
				holding[h.Key] = true
				h.State, h.Reason = outbox.Parked, reason
				change.Hold = append(change.Hold, h)
			}
		}
	})
}

// Replay implements outbox.Log.
func (s *Store) Replay(ctx context.Context, name string, positions []int64) (int, error) {
	return s.changeCursor(ctx, name, positions, func(l *Log, _ *Cursor, named []int64, change *CursorChange) {
		for _, position := range named {
			if h, delivered := l.again(name, position); delivered {
				change.Hold = append(change.Hold, h)
			}
		}
	})
}

// again returns how a message is held that a cursor has delivered, and whether it has.
func (l *Log) again(name string, position int64) (outbox.Hold, bool) {
	c := l.Cursors[name]
	passed := c.Position
	for i, row := range partitionRows(name, c.Split) {
		if at := l.Cursors[row].Position; i == 0 || at < passed {
			passed = at
		}
	}
	m, there := l.message(position)
	_, held := c.Held[position]
	return outbox.Hold{
		Position: position, Key: m.Key, State: outbox.ReplayState(m.Key), Since: time.Now().Truncate(time.Microsecond),
	}, there && !held && position <= passed
}

// changeHeld has fn add what becomes of held messages.
func (s *Store) changeHeld(ctx context.Context, name string, positions []int64, fn func(*CursorChange, outbox.Hold)) (int, error) {
	return s.changeCursor(ctx, name, positions, func(_ *Log, c *Cursor, named []int64, change *CursorChange) {
		for _, position := range named {
			if h, held := c.Held[position]; held {
				fn(change, h)
			}
		}
	})
}

// changeCursor has fn, which is given the positions in order and each once, say what
// becomes of what a cursor holds, and counts it.
func (s *Store) changeCursor(ctx context.Context, name string, positions []int64, fn func(l *Log, c *Cursor, named []int64, change *CursorChange)) (changed int, err error) {
	named := slices.Compact(slices.Sorted(slices.Values(positions)))
	err = s.changeLog(ctx, func(l *Log) (Change, error) {
		c, ok := l.Cursors[name]
		if !ok || outbox.IsPartitionRow(name) {
			return Change{}, nil
		}
		change := CursorChange{Position: c.Position, Epoch: c.Epoch, Split: c.Split}
		fn(l, c, named, &change)
		if changed = len(change.Hold) + len(change.Gone); changed == 0 {
			return Change{}, nil
		}
		return cursorChange(name, change), nil
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}

// Drop implements outbox.Log.
func (s *Store) Drop(ctx context.Context, name string) error {
	return s.changeLog(ctx, func(l *Log) (change Change, err error) {
		delete(l.members, name)
		c, ok := l.Cursors[name]
		if !ok || outbox.IsPartitionRow(name) {
			return Change{}, nil
		}
		for _, row := range append(partitionRows(name, c.Split), name) {
			change.Cursors = append(change.Cursors, CursorChange{Name: row, Dropped: true})
		}
		return change, nil
	})
}

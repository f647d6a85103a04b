package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uow-go/uow/outbox"
)

// cursor is how far one relay has read, and what it could not publish.
type cursor struct {
	position int64
	epoch    int64
	held     map[int64]outbox.Hold
}

// Acquire implements outbox.Log.
func (s *store) Acquire(ctx context.Context, name string) (lease outbox.Lease, err error) {
	err = s.locked(ctx, func() error {
		c, ok := s.log.cursors[name]
		if !ok {
			c = &cursor{held: map[int64]outbox.Hold{}}
			s.log.cursors[name] = c
		}
		s.log.epochs++
		c.epoch = s.log.epochs
		lease = outbox.Lease{Cursor: name, Epoch: c.epoch, Position: c.position}
		return nil
	})
	return lease, err
}

// Settle implements outbox.Log.
func (s *store) Settle(ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
	return s.locked(ctx, func() error {
		c, ok := s.log.cursors[lease.Cursor]
		if !ok || c.epoch != lease.Epoch {
			return outbox.ErrLeaseLost
		}
		holds, err := c.holds(&s.log, settlement.Hold)
		if err != nil {
			return err
		}
		maps.Copy(c.held, holds)
		if settlement.Position > 0 {
			c.position = settlement.Position
		}
		for _, position := range settlement.Release {
			delete(c.held, position)
		}
		return nil
	})
}

// holds returns what a settlement holds, by position: not what was discarded in
// the meantime.
func (c *cursor) holds(l *log, all []outbox.Hold) (map[int64]outbox.Hold, error) {
	holds := make(map[int64]outbox.Hold, len(all))
	for _, h := range all {
		old, held := c.held[h.Position]
		if h.Position <= c.position && !held {
			continue
		}
		if _, ok := l.message(h.Position); !ok {
			return nil, fmt.Errorf("memory: settle: there is no message at position %d", h.Position)
		}
		if held {
			h.Since = old.Since
		}
		holds[h.Position] = h
	}
	return holds, nil
}

// Held implements outbox.Log.
func (s *store) Held(ctx context.Context, name string, filter outbox.HeldFilter) (held []outbox.Held, err error) {
	err = s.locked(ctx, func() error {
		c, ok := s.log.cursors[name]
		if !ok {
			return nil
		}
		for _, position := range slices.Sorted(maps.Keys(c.held)) {
			if filter.Limit > 0 && len(held) == filter.Limit {
				break
			}
			h := c.held[position]
			if m, ok := s.log.message(position); ok && selects(filter, h) {
				held = append(held, outbox.Held{Hold: h, Message: copyMessage(m)})
			}
		}
		return nil
	})
	return held, err
}

func selects(f outbox.HeldFilter, h outbox.Hold) bool {
	switch {
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
func (s *store) Redrive(ctx context.Context, name string, positions []int64) (int, error) {
	return s.change(ctx, name, positions, func(c *cursor, h outbox.Hold) bool {
		if h.State != outbox.Parked {
			return false
		}
		h.State, h.Attempts, h.NextAt = outbox.Retrying, 0, h.Since
		c.held[h.Position] = h
		return true
	})
}

// Discard implements outbox.Log.
func (s *store) Discard(ctx context.Context, name string, positions []int64) (int, error) {
	return s.change(ctx, name, positions, func(c *cursor, h outbox.Hold) bool {
		delete(c.held, h.Position)
		return true
	})
}

// change applies fn to held messages and counts how many it changed.
func (s *store) change(ctx context.Context, name string, positions []int64, fn func(*cursor, outbox.Hold) bool) (changed int, err error) {
	err = s.locked(ctx, func() error {
		c, ok := s.log.cursors[name]
		if !ok {
			return nil
		}
		for _, position := range positions {
			if h, ok := c.held[position]; ok && fn(c, h) {
				changed++
			}
		}
		return nil
	})
	return changed, err
}

// Drop implements outbox.Log.
func (s *store) Drop(ctx context.Context, name string) error {
	return s.locked(ctx, func() error {
		delete(s.log.cursors, name)
		return nil
	})
}

package mvcc

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// number gives the messages of a change their positions and numbers. The store is
// locked.
func (s *Store) number(c *Change) {
	for i := range c.Messages {
		s.position++
		c.Messages[i].Position = s.position
	}
	for i := range c.Delayed {
		s.delays++
		c.Delayed[i].Position = s.delays
	}
}

// applyDelayed makes the change of what is delayed. It may be repeated.
func (l *Log) applyDelayed(c *Change) {
	for _, m := range c.Delayed {
		if m.Position > l.Delays {
			l.Delays = m.Position
			if l.Delayed == nil {
				l.Delayed = map[int64]driver.Message{}
			}
			l.Delayed[m.Position] = m
		}
	}
	for _, number := range c.Promoted {
		delete(l.Delayed, number)
	}
}

// Promote implements outbox.Log.
func (s *Store) Promote(ctx context.Context, limit int) (p outbox.Promotion, err error) {
	err = s.changeLog(ctx, func(l *Log) (change Change, err error) {
		p = outbox.Promotion{}
		now := time.Now()
		for _, m := range slices.SortedFunc(maps.Values(l.Delayed), compareDelayed) {
			if m.At.After(now) || len(change.Messages) >= limit {
				p.Left, p.In = true, max(m.At.Sub(now), 0)
				break
			}
			change.Promoted = append(change.Promoted, m.Position)
			m.CreatedAt, m.At = m.At, time.Time{}
			change.Messages = append(change.Messages, m)
		}
		p.Promoted = len(change.Messages)
		s.number(&change)
		return change, nil
	})
	if err != nil {
		return outbox.Promotion{}, err
	}
	return p, nil
}

func compareDelayed(a, b driver.Message) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Position, b.Position))
}

// Undelay implements outbox.Log.
func (s *Store) Undelay(ctx context.Context, ids []string) (n int, err error) {
	err = s.changeLog(ctx, func(l *Log) (change Change, err error) {
		for number, m := range l.Delayed {
			if slices.Contains(ids, m.ID) {
				change.Promoted = append(change.Promoted, number)
			}
		}
		n = len(change.Promoted)
		return change, nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

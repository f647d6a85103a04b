package memory

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// log is the outbox: messages by position, and the cursors that read them.
type log struct {
	messages []driver.Message
	end      int64
	cursors  map[string]*cursor
	// epochs is the greatest epoch given to any lease. It is one number for all
	// cursors, so that a cursor that was dropped and made again does not give an
	// epoch twice.
	epochs int64
}

// append gives messages their positions.
func (l *log) append(messages []driver.Message) {
	for _, m := range messages {
		l.end++
		m.Position = l.end
		l.messages = append(l.messages, m)
	}
}

// after returns the place of the first message after a position.
func (l *log) after(position int64) int {
	return sort.Search(len(l.messages), func(i int) bool { return l.messages[i].Position > position })
}

// message returns the message at a position.
func (l *log) message(position int64) (driver.Message, bool) {
	i := l.after(position - 1)
	if i == len(l.messages) || l.messages[i].Position != position {
		return driver.Message{}, false
	}
	return l.messages[i], true
}

// Scan implements outbox.Log.
func (s *store) Scan(ctx context.Context, after int64, limit int, topics []string) (messages []outbox.Message, next int64, err error) {
	if ctx.Err() != nil {
		return nil, after, context.Cause(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, after, ErrClosed
	}
	next = after
	for _, m := range s.log.messages[s.log.after(after):] {
		if len(messages) >= limit {
			break
		}
		next = m.Position
		if len(topics) == 0 || slices.Contains(topics, m.Topic) {
			messages = append(messages, copyMessage(m))
		}
	}
	return messages, next, nil
}

// Trim implements outbox.Log.
func (s *store) Trim(ctx context.Context, before time.Time, limit int) (deleted int, err error) {
	err = s.locked(ctx, func() error {
		passed := s.log.passed()
		s.log.messages = slices.DeleteFunc(s.log.messages, func(m driver.Message) bool {
			if deleted >= limit || m.Position > passed || !m.CreatedAt.Before(before) || s.log.held(m.Position) {
				return false
			}
			deleted++
			return true
		})
		return nil
	})
	return deleted, err
}

// passed returns the position that every cursor has reached: 0 when there is no
// cursor, since nothing was delivered then.
func (l *log) passed() int64 {
	if len(l.cursors) == 0 {
		return 0
	}
	passed := l.end
	for _, c := range l.cursors {
		passed = min(passed, c.position)
	}
	return passed
}

func (l *log) held(position int64) bool {
	for _, c := range l.cursors {
		if _, ok := c.held[position]; ok {
			return true
		}
	}
	return false
}

// Stats implements outbox.Log.
func (s *store) Stats(ctx context.Context) (stats outbox.Stats, err error) {
	err = s.locked(ctx, func() error {
		stats = outbox.Stats{End: s.log.end, Messages: int64(len(s.log.messages))}
		for _, name := range slices.Sorted(maps.Keys(s.log.cursors)) {
			stats.Cursors = append(stats.Cursors, s.log.describe(name))
		}
		return nil
	})
	return stats, err
}

func (l *log) describe(name string) outbox.CursorStats {
	c := l.cursors[name]
	stats := outbox.CursorStats{Cursor: name, Position: c.position, Epoch: c.epoch}
	for _, h := range c.held {
		switch h.State {
		case outbox.Retrying:
			stats.Retrying++
		case outbox.Waiting:
			stats.Waiting++
		case outbox.Parked:
			stats.Parked++
		}
	}
	for _, m := range l.messages {
		if _, held := c.held[m.Position]; !held && m.Position <= c.position {
			continue
		}
		if stats.OldestAt.IsZero() || m.CreatedAt.Before(stats.OldestAt) {
			stats.OldestAt = m.CreatedAt
		}
	}
	return stats
}

// Subscribe implements outbox.Log.
func (s *store) Subscribe(fn func()) (cancel func()) { return s.subscribers.Add(fn) }

func copyMessage(m driver.Message) driver.Message {
	m.Payload = bytes.Clone(m.Payload)
	m.Headers = maps.Clone(m.Headers)
	return m
}

func compareKeys(a, b key) int {
	return cmp.Or(strings.Compare(a.collection, b.collection), strings.Compare(a.id, b.id))
}

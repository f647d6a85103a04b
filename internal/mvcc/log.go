package mvcc

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

// Log is the outbox: messages by position, and the cursors that read them.
type Log struct {
	Messages []driver.Message
	// End is the position of the newest message that there ever was.
	End     int64
	Cursors map[string]*Cursor
	// Epochs is the greatest epoch given to any lease. It is one number for all
	// cursors, so that a cursor that was dropped and made again does not give an
	// epoch twice.
	Epochs int64
	// Delayed are messages that wait for their time, by their numbers, which they have
	// in place of a position, and Delays is the greatest number there was.
	Delayed map[int64]driver.Message
	Delays  int64
	// ID is the log's identity.
	ID string
	// members are who has joined a cursor, and until when.
	members map[string]map[string]time.Time
}

// Cursor is how far one relay has read, and what it could not publish.
type Cursor struct {
	Position int64
	Epoch    int64
	// Split is the number of partitions of a cursor that has more than one. Their
	// positions and epochs are cursors of their own, called by outbox.PartitionRow;
	// what they hold is held by the cursor.
	Split int
	Held  map[int64]outbox.Hold

	// owner has the lease until it expires. Leases and members end with the process,
	// since nobody but it can have any.
	owner   string
	expires time.Time
}

// after returns the place of the first message after a position.
func (l *Log) after(position int64) int {
	return sort.Search(len(l.Messages), func(i int) bool { return l.Messages[i].Position > position })
}

// message returns the message at a position.
func (l *Log) message(position int64) (driver.Message, bool) {
	i := l.after(position - 1)
	if i == len(l.Messages) || l.Messages[i].Position != position {
		return driver.Message{}, false
	}
	return l.Messages[i], true
}

// Scan implements outbox.Log.
func (s *Store) Scan(ctx context.Context, query outbox.Query) (messages []outbox.Message, next int64, err error) {
	next = query.After
	err = s.reading(ctx, func() error {
		for _, m := range s.log.Messages[s.log.after(query.After):] {
			if len(messages) >= query.Limit {
				break
			}
			next = m.Position
			if (len(query.Topics) == 0 || slices.Contains(query.Topics, m.Topic)) && query.Share.Has(m.Key, m.ID) {
				messages = append(messages, copyMessage(m))
			}
		}
		return nil
	})
	return messages, next, err
}

// Trim implements outbox.Log.
func (s *Store) Trim(ctx context.Context, before time.Time, limit int) (deleted int, err error) {
	var trimmed []int64
	err = s.changeLog(ctx, func(l *Log) (Change, error) {
		passed := l.passed()
		for _, m := range l.Messages {
			if len(trimmed) >= limit || m.Position > passed {
				break
			}
			if m.CreatedAt.Before(before) && !l.held(m.Position) {
				trimmed = append(trimmed, m.Position)
			}
		}
		return Change{Trimmed: trimmed}, nil
	})
	if err != nil {
		return 0, err
	}
	return len(trimmed), nil
}

// passed returns the position that every cursor has reached: 0 when there is no
// cursor, since nothing was delivered then.
func (l *Log) passed() int64 {
	if len(l.Cursors) == 0 {
		return 0
	}
	passed := l.End
	for _, c := range l.Cursors {
		if c.Split == 0 {
			passed = min(passed, c.Position)
		}
	}
	return passed
}

func (l *Log) held(position int64) bool {
	for _, c := range l.Cursors {
		if _, ok := c.Held[position]; ok {
			return true
		}
	}
	return false
}

// Stats implements outbox.Log.
func (s *Store) Stats(ctx context.Context) (stats outbox.Stats, err error) {
	err = s.reading(ctx, func() error {
		stats = outbox.Stats{End: s.log.End, Messages: int64(len(s.log.Messages)), Delayed: int64(len(s.log.Delayed)), Log: s.log.ID}
		for _, name := range slices.Sorted(maps.Keys(s.log.Cursors)) {
			if s.log.Cursors[name].Split == 0 {
				stats.Cursors = append(stats.Cursors, s.log.describe(name))
			}
		}
		members := map[string][]string{}
		for cursor, all := range s.log.members {
			for member, until := range all {
				if time.Now().Before(until) {
					members[cursor] = append(members[cursor], member)
				}
			}
			slices.Sort(members[cursor])
		}
		stats.Cursors = outbox.MergeCursorStats(stats.Cursors, members)
		return nil
	})
	return stats, err
}

func (l *Log) describe(name string) outbox.CursorStats {
	c := l.Cursors[name]
	stats := outbox.CursorStats{Cursor: name, Position: c.Position, Epoch: c.Epoch, Parts: []outbox.PartStats{{Owner: c.owner, ExpiresAt: c.expires}}}
	base, _, _ := outbox.ParseRow(name)
	held := l.Cursors[base].Held
	for _, h := range held {
		switch h.State {
		case outbox.Retrying:
			stats.Retrying++
		case outbox.Waiting:
			stats.Waiting++
		case outbox.Parked:
			stats.Parked++
		}
	}
	for _, m := range l.Messages {
		if _, held := held[m.Position]; !held && m.Position <= c.Position {
			continue
		}
		if stats.OldestAt.IsZero() || m.CreatedAt.Before(stats.OldestAt) {
			stats.OldestAt = m.CreatedAt
		}
	}
	return stats
}

// Subscribe implements outbox.Log.
func (s *Store) Subscribe(fn func(recent bool)) (cancel func()) { return s.subscribers.Add(fn) }

func copyMessage(m driver.Message) driver.Message {
	m.Payload = bytes.Clone(m.Payload)
	m.Headers = maps.Clone(m.Headers)
	return m
}

func compareKeys(a, b key) int {
	return cmp.Or(strings.Compare(a.collection, b.collection), strings.Compare(a.id, b.id))
}

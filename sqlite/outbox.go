package sqlite

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/outbox"
)

// Scan implements outbox.Log.
func (s *Store) Scan(ctx context.Context, q outbox.Query) (messages []outbox.Message, next int64, err error) {
	next = q.After
	if q.Limit <= 0 {
		return nil, next, ctx.Err()
	}
	if messages, next, ok := s.recent.Scan(q); ok {
		return messages, next, ctx.Err()
	}
	query, args := scanQuery(q)
	err = s.reading(ctx, func(c *conn) error {
		err := c.query(ctx, func(row []sqldriver.Value) error {
			next = number(row[0])
			if !q.Share.Has(text(row[3]), text(row[1])) {
				return nil
			}
			m, err := decodeMessage(row)
			if messages = append(messages, m); err == nil && len(messages) == q.Limit {
				return io.EOF // ends the query
			}
			return err
		}, query, args...)
		if err != nil || len(q.Topics) == 0 || len(messages) == q.Limit {
			return err
		}
		end, ok, err := c.integer(`SELECT max(position) FROM uow_outbox`)
		if ok {
			next = max(next, end)
		}
		return err
	})
	if err == nil && next > q.After {
		err = s.disk.await(next)
	}
	if err != nil {
		return nil, q.After, err
	}
	return messages, next, nil
}

// scanQuery returns the query for the log after a position. SQLite does not know
// partitions: messages of others are left out as they are read.
func scanQuery(q outbox.Query) (query string, args []sqldriver.Value) {
	query, args = selectMessages+" FROM uow_outbox m WHERE m.position > ?", []sqldriver.Value{q.After}
	if len(q.Topics) > 0 {
		for _, topic := range q.Topics {
			args = append(args, topic)
		}
		args = fill(args, len(q.Topics))
		query += " AND m.topic IN (" + marks(listSize(len(q.Topics))) + ")"
	}
	query += " ORDER BY m.position"
	if q.Share.Whole() {
		query += " LIMIT ?"
		args = append(args, int64(q.Limit))
	}
	return query, args
}

// reading runs fn on a snapshot.
func (s *Store) reading(ctx context.Context, fn func(c *conn) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t := &tx{store: s}
	defer t.release()
	return t.reading(ctx, fn)
}

// Settle implements outbox.Log.
func (s *Store) Settle(ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
	return s.writer.do(ctx, func(c *conn) error {
		before, err := leased(c, lease)
		if err != nil {
			return err
		}
		if at, moved, asked := settlement.Left(); asked && before != at && before != moved {
			return &ownError{fmt.Errorf("sqlite: settle: the partition is at %d, and was left at %d: %w", before, at, outbox.ErrRestored)}
		}
		for i := range settlement.Hold {
			if err := hold(c, lease.Cursor, before, &settlement.Hold[i]); err != nil {
				return err
			}
		}
		if settlement.Position > 0 || lease.TTL > 0 {
			if settlement.Position > 0 {
				before = settlement.Position
			}
			if _, err := c.exec(`UPDATE uow_outbox_cursor SET position = ?, expires_at = `+now+` + ? WHERE name = ?`,
				before, lease.TTL.Microseconds(), lease.Row()); err != nil {
				return wrap("settle", err)
			}
		}
		for _, position := range settlement.Release {
			if _, err := c.exec(deleteHeld, lease.Cursor, position); err != nil {
				return wrap("settle", err)
			}
		}
		return nil
	})
}

const deleteHeld = `DELETE FROM uow_outbox_held WHERE cursor = ? AND position = ?`

// hold holds a message, or changes the state of a held one. One that the cursor
// has passed and does not hold was discarded in the meantime, and stays so.
func hold(c *conn, cursor string, passed int64, h *outbox.Hold) error {
	if h.Position <= passed {
		_, held, err := c.integer(`SELECT 1 FROM uow_outbox_held WHERE cursor = ? AND position = ?`, cursor, h.Position)
		if err != nil {
			return wrap("settle", err)
		}
		if !held {
			return nil
		}
	}
	_, exists, err := c.integer(`SELECT 1 FROM uow_outbox WHERE position = ?`, h.Position)
	if err != nil {
		return wrap("settle", err)
	}
	if !exists {
		return &ownError{fmt.Errorf("sqlite: settle: there is no message at position %d", h.Position)}
	}
	_, err = c.exec(`INSERT INTO uow_outbox_held (cursor, position, key, state, attempts, next_at, reason, since)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (cursor, position) DO UPDATE SET key = excluded.key, state = excluded.state,
		attempts = excluded.attempts, next_at = excluded.next_at, reason = excluded.reason`,
		cursor, h.Position, h.Key, string(h.State), int64(h.Attempts), maybeTime(h.NextAt), h.Reason, maybeTime(h.Since))
	if err != nil {
		return wrap("settle", err)
	}
	return nil
}

// maybeTime keeps the zero time as NULL.
func maybeTime(t time.Time) sqldriver.Value {
	if t.IsZero() {
		return nil
	}
	return micros(t)
}

func timeOf(v sqldriver.Value) time.Time {
	if n, ok := v.(int64); ok {
		return fromMicros(n)
	}
	return time.Time{}
}

// Held implements outbox.Log.
func (s *Store) Held(ctx context.Context, cursor string, filter outbox.HeldFilter) (held []outbox.Held, err error) {
	query, args := heldQuery(cursor, filter)
	err = s.reading(ctx, func(c *conn) error {
		return c.query(ctx, func(row []sqldriver.Value) error {
			if !filter.Share.Has(text(row[3]), text(row[1])) {
				return nil
			}
			if !filter.Share.Whole() && filter.Limit > 0 && len(held) == filter.Limit {
				return io.EOF // ends the query
			}
			m, err := decodeMessage(row)
			held = append(held, outbox.Held{Message: m, Hold: outbox.Hold{
				Position: m.Position,
				Key:      text(row[11]),
				State:    outbox.HoldState(text(row[12])),
				Attempts: int(number(row[13])),
				NextAt:   timeOf(row[14]),
				Reason:   text(row[15]),
				Since:    timeOf(row[16]),
			}})
			return err
		}, query, args...)
	})
	return held, err
}

func heldQuery(cursor string, filter outbox.HeldFilter) (string, []sqldriver.Value) {
	var b strings.Builder
	args := []sqldriver.Value{cursor}
	b.WriteString(selectMessages + `, h.key, h.state, h.attempts, h.next_at, h.reason, h.since
		FROM uow_outbox_held h JOIN uow_outbox m ON m.position = h.position WHERE h.cursor = ?`)
	if filter.State != "" {
		b.WriteString(" AND h.state = ?")
		args = append(args, string(filter.State))
	}
	if filter.Key != nil {
		b.WriteString(" AND h.key = ?")
		args = append(args, *filter.Key)
	}
	if filter.After > 0 {
		b.WriteString(" AND h.position > ?")
		args = append(args, filter.After)
	}
	if !filter.DueAt.IsZero() {
		b.WriteString(" AND h.state = 'retrying' AND (h.next_at IS NULL OR h.next_at <= ?)")
		args = append(args, micros(filter.DueAt))
	}
	b.WriteString(" ORDER BY h.position")
	if filter.Limit > 0 && filter.Share.Whole() {
		b.WriteString(" LIMIT ?")
		args = append(args, int64(filter.Limit))
	}
	return b.String(), args
}

// Redrive implements outbox.Log.
func (s *Store) Redrive(ctx context.Context, cursor string, positions []int64) (int, error) {
	return s.each(ctx, "redrive", cursor, positions, []string{`UPDATE uow_outbox_held SET state = 'retrying', attempts = 0, next_at = since
		WHERE cursor = ? AND position = ? AND state = 'parked'`})
}

// Discard implements outbox.Log.
func (s *Store) Discard(ctx context.Context, cursor string, positions []int64) (int, error) {
	return s.each(ctx, "discard", cursor, positions, []string{deleteHeld})
}

// Park implements outbox.Log.
func (s *Store) Park(ctx context.Context, cursor string, positions []int64, reason string) (int, error) {
	return s.each(ctx, "park", cursor, positions, []string{
		`UPDATE uow_outbox_held AS h SET state = 'parked', next_at = NULL, reason = ?3
		WHERE cursor = ?1 AND position = ?2 AND state <> 'parked' AND NOT EXISTS (SELECT 1 FROM uow_outbox_held o
			WHERE o.cursor = ?1 AND o.key = h.key AND h.key <> '' AND o.position < ?2)`,
		`INSERT INTO uow_outbox_held (cursor, position, key, state, attempts, next_at, reason, since)
		SELECT ?1, m.position, m.ordering_key, 'parked', 0, NULL, ?3, ` + now + ` FROM uow_outbox m WHERE m.position = ?2
			AND m.ordering_key <> '' AND m.position <= ` + passedByAll + `
			AND NOT EXISTS (SELECT 1 FROM uow_outbox_held o WHERE o.cursor = ?1 AND o.key = m.ordering_key)`,
	}, reason)
}

// Replay implements outbox.Log.
func (s *Store) Replay(ctx context.Context, cursor string, positions []int64) (int, error) {
	return s.each(ctx, "replay", cursor, positions, []string{`INSERT INTO uow_outbox_held (cursor, position, key, state, attempts, next_at, reason, since)
		SELECT ?1, m.position, m.ordering_key, iif(m.ordering_key = '', ?3, ?4), 0, NULL, '', ` + now + ` FROM uow_outbox m WHERE m.position = ?2
			AND m.position <= ` + passedByAll + ` ON CONFLICT (cursor, position) DO NOTHING`}, string(outbox.ReplayState("")), string(outbox.ReplayState("k")))
}

// passedByAll is the position that all partitions of the cursor ?1 have passed.
const passedByAll = `(SELECT min(position) FROM uow_outbox_cursor WHERE split = 0 AND (name = ?1 AND part_of = '' OR part_of = ?1 AND ?1 <> ''))`

// each runs queries, one after the other, for each position, and counts the rows that they
// changed. It goes from the last position to the first, since it is the last message that
// Park stops a key by.
func (s *Store) each(ctx context.Context, what, cursor string, positions []int64, queries []string, more ...sqldriver.Value) (int, error) {
	positions = slices.Sorted(slices.Values(positions))
	slices.Reverse(positions)
	var changed int64
	err := s.writer.do(ctx, func(c *conn) error {
		changed = 0
		for _, query := range queries {
			for _, position := range positions {
				n, err := c.exec(query, append([]sqldriver.Value{cursor, position}, more...)...)
				if err != nil {
					return wrap(what, err)
				}
				changed += n
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return int(changed), nil
}

// Drop implements outbox.Log.
func (s *Store) Drop(ctx context.Context, cursor string) error {
	return s.writer.do(ctx, func(c *conn) error {
		for _, query := range []string{
			`DELETE FROM uow_outbox_held WHERE cursor = ?`,
			`DELETE FROM uow_outbox_cursor WHERE name = ?1 AND part_of = '' OR part_of = ?1 AND ?1 <> ''`,
			`DELETE FROM uow_outbox_member WHERE cursor = ?`,
		} {
			if _, err := c.exec(query, cursor); err != nil {
				return wrap("drop", err)
			}
		}
		return nil
	})
}

// Subscribe implements outbox.Log. Commits of other processes are not seen.
func (s *Store) Subscribe(fn func(recent bool)) (cancel func()) { return s.subscribers.Add(fn) }

package sqlite

import (
	"context"
	"io"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/outbox"
)

// young is how many messages in a row, none of them old enough to be deleted, end
// a trim's search: positions follow time but for differing clocks, and the whole
// log is not read to find a straggler.
const young = 1000

// Trim implements outbox.Log. Nothing is deleted while there is no cursor.
func (s *Store) Trim(ctx context.Context, before time.Time, limit int) (int, error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	deleted := 0
	err := s.writer.do(ctx, func(c *conn) error {
		positions, err := trimmable(c, before, limit)
		if err != nil {
			return wrap("trim", err)
		}
		deleted = len(positions)
		if err := deleteMessages(c, positions); err != nil {
			return wrap("trim", err)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return deleted, nil
}

// trimmable finds the oldest messages that may be deleted.
func trimmable(c *conn, before time.Time, limit int) (positions []int64, err error) {
	passed, ok, err := c.integer(`SELECT min(position) FROM uow_outbox_cursor WHERE split = 0`)
	if !ok || err != nil {
		return nil, err
	}
	at, inARow := micros(before), 0
	err = c.query(context.Background(), func(row []sqldriver.Value) error {
		if number(row[1]) >= at {
			if inARow++; inARow == young {
				return io.EOF // ends the query
			}
			return nil
		}
		inARow = 0
		positions = append(positions, number(row[0]))
		if len(positions) == limit {
			return io.EOF
		}
		return nil
	}, `SELECT position, created_at FROM uow_outbox m WHERE position <= ?
		AND NOT EXISTS (SELECT 1 FROM uow_outbox_held h WHERE h.position = m.position)
		ORDER BY position`, passed)
	return positions, err
}

// deleteMessages deletes positions, which ascend, a range at a time.
func deleteMessages(c *conn, positions []int64) error {
	for first := 0; first < len(positions); {
		last := first
		for last+1 < len(positions) && positions[last+1] == positions[last]+1 {
			last++
		}
		if _, err := c.exec(`DELETE FROM uow_outbox WHERE position BETWEEN ? AND ?`, positions[first], positions[last]); err != nil {
			return err
		}
		first = last + 1
	}
	if len(positions) == 0 {
		return nil
	}
	_, err := c.exec(`UPDATE uow_outbox_state SET trimmed = trimmed + ?, last = max(last, ?)`,
		int64(len(positions)), positions[len(positions)-1])
	return err
}

// Stats implements outbox.Log. Messages that were deleted by other means than Trim
// still count.
func (s *Store) Stats(ctx context.Context) (stats outbox.Stats, err error) {
	members := map[string][]string{}
	err = s.reading(ctx, func(c *conn) error {
		err := c.query(ctx, func(row []sqldriver.Value) error {
			stats.End, stats.Messages, stats.Log = number(row[0]), number(row[0])-number(row[1]), text(row[2])
			stats.Delayed = number(row[3])
			return nil
		}, `SELECT max(coalesce((SELECT max(position) FROM uow_outbox), 0), last), trimmed, log, (SELECT count(*) FROM uow_outbox_delayed) FROM uow_outbox_state`)
		if err != nil {
			return err
		}
		err = c.query(ctx, func(row []sqldriver.Value) error {
			stats.Cursors = append(stats.Cursors, outbox.CursorStats{
				Cursor:   text(row[0]),
				Position: number(row[1]),
				Epoch:    number(row[2]),
				Retrying: number(row[3]),
				Waiting:  number(row[4]),
				Parked:   number(row[5]),
				OldestAt: earlier(timeOf(row[6]), timeOf(row[7])),
				Parts:    []outbox.PartStats{{Owner: text(row[8]), ExpiresAt: timeOf(row[9])}},
			})
			return nil
		}, cursorStats)
		if err != nil {
			return err
		}
		return c.query(ctx, func(row []sqldriver.Value) error {
			members[text(row[0])] = append(members[text(row[0])], text(row[1]))
			return nil
		}, `SELECT cursor, member FROM uow_outbox_member WHERE expires_at > `+now+` ORDER BY cursor, member`)
	})
	stats.Cursors = outbox.MergeCursorStats(stats.Cursors, members)
	return stats, err
}

// cursorStats takes the first message after a cursor for the oldest, since
// looking at all of a backlog would cost too much.
const cursorStats = `SELECT c.name, c.position, c.epoch,
	(SELECT count(*) FROM uow_outbox_held h WHERE h.cursor = c.cursor AND h.state = 'retrying'),
	(SELECT count(*) FROM uow_outbox_held h WHERE h.cursor = c.cursor AND h.state = 'waiting'),
	(SELECT count(*) FROM uow_outbox_held h WHERE h.cursor = c.cursor AND h.state = 'parked'),
	(SELECT created_at FROM uow_outbox m WHERE m.position > c.position ORDER BY m.position LIMIT 1),
	(SELECT min(m.created_at) FROM uow_outbox_held h JOIN uow_outbox m ON m.position = h.position WHERE h.cursor = c.cursor),
	owner, nullif(expires_at, 0)
	FROM (SELECT *, iif(part_of = '', name, part_of) AS cursor FROM uow_outbox_cursor WHERE split = 0) c ORDER BY c.name`

// earlier returns the earlier of two times that may be zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

package sqlite

import (
	"context"
	"slices"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// insertDelayed takes the messages out of the batch that have to wait for their time,
// and keeps them apart.
func (w *writer) insertDelayed() error {
	isDelayed := func(e entry) bool { return !e.message.At.IsZero() }
	if !slices.ContainsFunc(w.batch, isDelayed) {
		return nil
	}
	for _, e := range w.batch {
		if !isDelayed(e) {
			continue
		}
		m := e.message
		headers, err := encodeHeaders(m.Headers)
		if err != nil {
			return err
		}
		if _, err := w.conn.exec(`INSERT INTO uow_outbox_delayed
			(due_at, id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, headers, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			micros(m.At), m.ID, m.Topic, m.Key, m.Type, m.AggregateType, m.AggregateID, e.sequence, headers, m.Payload); err != nil {
			return err
		}
	}
	w.batch = slices.DeleteFunc(w.batch, isDelayed)
	return nil
}

// Promote implements outbox.Log. The messages join the batch of the writer's
// transaction. Where nothing is due nothing is written.
func (s *Store) Promote(ctx context.Context, limit int) (p outbox.Promotion, err error) {
	next := func(c *conn) error {
		p = outbox.Promotion{}
		wait, left, err := c.integer(`SELECT due_at - ` + now + ` FROM uow_outbox_delayed ORDER BY due_at LIMIT 1`)
		if left {
			p.Wait(wait)
		}
		return err
	}
	if err := s.reading(ctx, next); err != nil || !p.Left || p.In > 0 {
		return p, err
	}
	err = s.writer.do(ctx, func(c *conn) error {
		due, err := takeDue(c, limit)
		if err != nil {
			return wrap("promote", err)
		}
		if err := next(c); err != nil {
			return wrap("promote", err)
		}
		for _, m := range due {
			s.writer.batch = append(s.writer.batch, entry{message: m, sequence: m.Sequence})
		}
		p.Promoted = len(due)
		return nil
	})
	if err != nil {
		return outbox.Promotion{}, err
	}
	if p.Promoted > 0 {
		s.subscribers.Wake(false)
	}
	return p, nil
}

// takeDue removes the delayed messages that are due, and returns them.
func takeDue(c *conn, limit int) (due []*driver.Message, err error) {
	var taken []int64
	err = c.query(context.Background(), func(row []sqldriver.Value) error {
		taken = append(taken, number(row[0]))
		m, err := decodeMessage(row)
		m.Position = 0
		due = append(due, &m)
		return err
	}, `SELECT seq, id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, headers, due_at, payload
		FROM uow_outbox_delayed WHERE due_at <= `+now+` ORDER BY due_at, seq LIMIT ?`, int64(limit))
	for _, seq := range taken {
		if err == nil {
			_, err = c.exec(`DELETE FROM uow_outbox_delayed WHERE seq = ?`, seq)
		}
	}
	return due, err
}

// Undelay implements outbox.Log.
func (s *Store) Undelay(ctx context.Context, ids []string) (n int, err error) {
	err = s.writer.do(ctx, func(c *conn) error {
		n = 0
		for _, id := range ids {
			changed, err := c.exec(`DELETE FROM uow_outbox_delayed WHERE id = ?`, id)
			if err != nil {
				return wrap("undelay", err)
			}
			n += int(changed)
		}
		return nil
	})
	return n, err
}

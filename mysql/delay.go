package mysql

import (
	"context"
	"fmt"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

const delayedColumns = "id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, headers, due_at, payload"

// delay appends the statement that keeps a message until its time.
func (p *plan) delay(s *script, m *driver.Message) {
	headers, err := encodeHeaders(m.Headers)
	if err != nil {
		s.fail(fmt.Errorf("mysql: message %s: headers: %w", m.ID, err))
	}
	s.add("INSERT INTO ", p.store.schema, "uow_outbox_delayed (", delayedColumns, ") VALUES (").
		text(m.ID, maxID).add(", ").text(m.Topic, maxKey).add(", ").text(m.Key, maxKey).add(", ").text(m.Type, maxID).
		add(", ").text(m.AggregateType, maxID).add(", ").text(m.AggregateID, maxID).add(", ").int(m.Sequence).
		add(", ").bytes(headers).add(", ").time(m.At).add(", ").bytes(m.Payload).do(")")
}

// Promote implements outbox.Log. Where nothing is due nothing is locked or written;
// otherwise it takes a lane, as everybody who appends. Of those who promote at once
// each waits for the rows of the one before, and finds them gone.
func (s *Store) Promote(ctx context.Context, limit int) (p outbox.Promotion, err error) {
	next := func(sc *script) *script {
		p.Left, p.In = false, 0
		return sc.add("SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), due_at) FROM ", s.schema, "uow_outbox_delayed ORDER BY due_at LIMIT 1").
			query(func(row []sqldriver.Value) error { p.Wait(number(row[0])); return nil })
	}
	if err := s.do(ctx, "promote", next(newScript())); err != nil || !p.Left || p.In > 0 {
		return p, err
	}
	err = s.inOne(ctx, "promote", func(run func(*script) error) error {
		var due []int64
		sc := s.change().add("SELECT lane FROM ", s.schema, "uow_lanes WHERE lane = CONNECTION_ID() % ").int(lanes).add(forShare).query(nil).
			add("SELECT seq FROM ", s.schema, "uow_outbox_delayed WHERE due_at <= UTC_TIMESTAMP(6) ORDER BY due_at, seq LIMIT ").
			int(int64(limit)).add(forUpdate).
			query(func(row []sqldriver.Value) error { due = append(due, number(row[0])); return nil })
		if err := run(sc); err != nil {
			return err
		}
		sc = newScript()
		if len(due) > 0 {
			sc.add("INSERT INTO ", s.schema, "uow_outbox (id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, headers, created_at, payload)",
				" SELECT ", delayedColumns, " FROM ", s.schema, "uow_outbox_delayed WHERE seq IN ").positions(due).do(" ORDER BY due_at, seq").
				add("DELETE FROM ", s.schema, "uow_outbox_delayed WHERE seq IN ").positions(due).end()
		}
		p.Promoted = len(due)
		return run(next(sc).do("COMMIT"))
	})
	if err != nil {
		return outbox.Promotion{}, err
	}
	if p.Promoted > 0 {
		s.subscribers.Wake(false)
	}
	return p, nil
}

// Undelay implements outbox.Log.
func (s *Store) Undelay(ctx context.Context, ids []string) (n int, err error) {
	if len(ids) == 0 {
		return 0, ctx.Err()
	}
	sc := s.change().add("DELETE FROM ", s.schema, "uow_outbox_delayed WHERE id IN (")
	sc.list(len(ids), func(i int) { sc.text(ids[i], unlimited) }).add(")").end()
	err = s.do(ctx, "undelay", counting(sc, &n).do("COMMIT"))
	return n, err
}

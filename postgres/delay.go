package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

const delayedColumns = `id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, headers, due_at, payload`

// delay plans the step that keeps messages until their time.
func (p *plan) delay(all []driver.Message) {
	rows := pointers(all)
	for i := range all {
		m := all[i]
		m.CreatedAt = m.At
		rows[i] = &m
	}
	p.steps = append(p.steps, step{statement: p.store.sql.delay, args: newArgs(10).messages(rows)})
}

// Promote implements outbox.Log: one round trip, and one transaction. Of those who
// promote at once each waits for the rows of the one before, and finds them gone.
func (s *Store) Promote(ctx context.Context, limit int) (p outbox.Promotion, err error) {
	err = s.do(ctx, "promote", step{
		statement: s.sql.promote,
		args:      newArgs(1).int(int64(limit)),
		row: func(row [][]byte) error {
			p.Promoted = int(number(row[0]))
			if row[1] != nil {
				p.Wait(number(row[1]))
			}
			return nil
		},
	})
	if err == nil && p.Promoted > 0 {
		s.wakes.appended(false)
	}
	return p, err
}

func (s *statements) delayed(schema string, many []uint32) {
	s.delay = newStatement(`INSERT INTO `+schema+`.uow_outbox_delayed (`+delayedColumns+`)
		SELECT * FROM unnest(`+params(1, len(many))+`)`, many...)
	s.promote = newStatement(`WITH due AS (DELETE FROM `+schema+`.uow_outbox_delayed WHERE seq IN
			(SELECT seq FROM `+schema+`.uow_outbox_delayed WHERE due_at <= clock_timestamp() ORDER BY due_at, seq LIMIT $1 FOR UPDATE) RETURNING *),
		put AS (INSERT INTO `+schema+`.uow_outbox (`+messageColumns+`) SELECT `+delayedColumns+` FROM due ORDER BY due_at, seq RETURNING position)
		SELECT (SELECT count(*) FROM put), (SELECT (extract(epoch FROM d.due_at - clock_timestamp()) * 1000000)::bigint
			FROM `+schema+`.uow_outbox_delayed d WHERE NOT EXISTS (SELECT FROM due WHERE due.seq = d.seq) ORDER BY d.due_at LIMIT 1)`, pgtype.Int8OID)
}

// Undelay implements outbox.Log.
func (s *Store) Undelay(ctx context.Context, ids []string) (n int, err error) {
	err = s.do(ctx, "undelay", step{
		statement: s.sqlf(`WITH d AS (DELETE FROM %[1]s.uow_outbox_delayed WHERE id = ANY($1) RETURNING seq) SELECT count(*) FROM d`, pgtype.TextArrayOID),
		args:      newArgs(1).texts(len(ids), func(i int) string { return ids[i] }),
		row:       func(row [][]byte) error { n = int(number(row[0])); return nil },
	})
	return n, err
}

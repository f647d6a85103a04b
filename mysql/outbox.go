package mysql

import (
	"context"
	"strings"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/outbox"
)

// change begins a script that is one transaction, which it must end by COMMIT.
func (s *Store) change() *script {
	sc := newScript()
	s.begin(sc, ReadCommitted, false)
	return sc
}

// Settle implements outbox.Log: one round trip, after which no lock is left. The
// partition's row is locked first.
func (s *Store) Settle(ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	sc := s.leased(s.change(), lease, settlement)
	s.hold(sc, lease, settlement.Hold)
	if len(settlement.Release) > 0 {
		s.release(sc, lease.Cursor, settlement.Release)
	}
	if settlement.Position > 0 || lease.TTL > 0 {
		sc.add("UPDATE ", s.schema, "uow_outbox_cursor SET expires_at = UTC_TIMESTAMP(6) + INTERVAL ").int(lease.TTL.Microseconds()).add(" MICROSECOND")
		if settlement.Position > 0 {
			sc.add(", position = ").int(settlement.Position)
		}
		sc.add(" WHERE name = ").text(lease.Row(), unlimited).end()
	}
	if _, err := c.run(ctx, sc.do("COMMIT"), s.maxPacket); err != nil {
		return s.settleFailed(ctx, c, lease, err)
	}
	return nil
}

func (s *Store) settleFailed(ctx context.Context, c *session, lease outbox.Lease, err error) error {
	if !c.dead {
		c.rollback(s.maxPacket)
	}
	if code(err) == codeRange {
		return s.refused(ctx, lease)
	}
	return s.wrap(ctx, "settle", err)
}

// hold appends the statements that hold messages, but for those at or before the position
// that are not held: they were discarded, and stay so.
func (s *Store) hold(sc *script, lease outbox.Lease, holds []outbox.Hold) {
	in(holds, func(part []outbox.Hold) {
		sc.add("INSERT INTO ", s.schema, "uow_outbox_held (`cursor`, position, `key`, state, attempts, next_at, reason, since) SELECT v.* FROM (")
		for i := range part {
			h := &part[i]
			if i > 0 {
				sc.add(" UNION ALL ")
			}
			sc.add("SELECT ").text(lease.Cursor, maxID).add(" AS c, ").int(h.Position).add(" AS p, ").text(h.Key, maxKey).add(" AS k, ").
				text(string(h.State), 16).add(" AS s, ").int(int64(h.Attempts)).add(" AS a, ").maybeTime(h.NextAt).add(" AS n, ").
				text(strings.ToValidUTF8(h.Reason, "\uFFFD"), unlimited).add(" AS r, ").maybeTime(h.Since).add(" AS t")
		}
		sc.add(") v WHERE v.p > (SELECT position FROM ", s.schema, "uow_outbox_cursor WHERE name = ").text(lease.Row(), unlimited).
			add(") OR v.p IN (SELECT h.position FROM ", s.schema, "uow_outbox_held h WHERE h.`cursor` = ").text(lease.Cursor, unlimited).
			do(") ON DUPLICATE KEY UPDATE `key` = VALUES(`key`), state = VALUES(state), attempts = VALUES(attempts)," +
				" next_at = VALUES(next_at), reason = VALUES(reason)")
	})
}

// release appends the statement that deletes held messages.
func (s *Store) release(sc *script, cursor string, positions []int64) *script {
	return sc.add("DELETE FROM ", s.schema, "uow_outbox_held WHERE `cursor` = ").text(cursor, unlimited).
		add(" AND position IN ").positions(positions).end()
}

// Held implements outbox.Log.
func (s *Store) Held(ctx context.Context, cursor string, filter outbox.HeldFilter) ([]outbox.Held, error) {
	var held []outbox.Held
	sc := newScript().add(`SELECT h.position, h.key, h.state, h.attempts, CAST(h.next_at AS CHAR), h.reason, CAST(h.since AS CHAR), m.id, m.topic,
		m.ordering_key, m.type, m.aggregatetype, m.aggregateid, m.sequence, m.headers, CAST(m.created_at AS CHAR), m.payload
		FROM `, s.schema, "uow_outbox_held h JOIN ", s.schema, "uow_outbox m ON m.position = h.position WHERE h.cursor = ").text(cursor, unlimited)
	if filter.State != "" {
		sc.add(" AND h.state = ").text(string(filter.State), unlimited)
	}
	if filter.Key != nil {
		sc.add(" AND h.key = ").text(*filter.Key, unlimited)
	}
	if filter.After > 0 {
		sc.add(" AND h.position > ").int(filter.After)
	}
	if !filter.DueAt.IsZero() {
		sc.add(" AND h.state = 'retrying' AND (h.next_at IS NULL OR h.next_at <= ").time(filter.DueAt).add(")")
	}
	inShare(sc, "m", filter.Share).add(" ORDER BY h.position")
	if filter.Limit > 0 {
		sc.add(" LIMIT ").int(int64(filter.Limit))
	}
	sc.query(func(row []sqldriver.Value) error {
		m, err := decodeMessage(number(row[0]), row[7:])
		held = append(held, outbox.Held{Message: m, Hold: outbox.Hold{
			Position: m.Position,
			Key:      text(row[1]),
			State:    outbox.HoldState(text(row[2])),
			Attempts: int(number(row[3])),
			NextAt:   timeOf(row[4]),
			Reason:   text(row[5]),
			Since:    timeOf(row[6]),
		}})
		return err
	})
	if err := s.do(ctx, "list held messages", sc); err != nil {
		return nil, err
	}
	return held, nil
}

// Redrive implements outbox.Log.
func (s *Store) Redrive(ctx context.Context, cursor string, positions []int64) (n int, err error) {
	if len(positions) == 0 {
		return 0, ctx.Err()
	}
	sc := s.change().add("UPDATE ", s.schema, "uow_outbox_held SET state = 'retrying', attempts = 0, next_at = since WHERE `cursor` = ").
		text(cursor, unlimited).add(" AND position IN ").positions(positions).add(" AND state = 'parked'").end()
	err = s.do(ctx, "redrive", counting(sc, &n).do("COMMIT"))
	return n, err
}

// Discard implements outbox.Log.
func (s *Store) Discard(ctx context.Context, cursor string, positions []int64) (n int, err error) {
	if len(positions) == 0 {
		return 0, ctx.Err()
	}
	err = s.do(ctx, "discard", counting(s.release(s.change(), cursor, positions), &n).do("COMMIT"))
	return n, err
}

// Park implements outbox.Log. What is held of the keys is locked and read first, since
// an UPDATE can't read its own table.
func (s *Store) Park(ctx context.Context, cursor string, positions []int64, reason string) (n int, err error) {
	if len(positions) == 0 {
		return 0, ctx.Err()
	}
	err = s.inOne(ctx, "park", func(run func(*script) error) error {
		var heads []int64
		sc := s.change().add("SELECT h.position FROM ", s.schema, "uow_outbox_held h WHERE h.`cursor` = ").text(cursor, unlimited).
			add(" AND h.position IN ").positions(positions).add(" AND h.state <> 'parked' AND NOT EXISTS (SELECT 1 FROM ", s.schema,
			"uow_outbox_held o WHERE o.`cursor` = h.`cursor` AND o.`key` = h.`key` AND h.`key` <> '' AND o.position < h.position)", forUpdate).
			query(func(row []sqldriver.Value) error { heads = append(heads, number(row[0])); return nil })
		if err := run(sc); err != nil {
			return err
		}
		reason = strings.ToValidUTF8(reason, "\uFFFD")
		sc = newScript()
		if len(heads) > 0 {
			sc.add("UPDATE ", s.schema, "uow_outbox_held SET state = 'parked', next_at = NULL, reason = ").
				text(reason, unlimited).add(" WHERE `cursor` = ").text(cursor, unlimited).
				add(" AND position IN ").positions(heads).end()
		}
		err := run(counting(s.stopKeys(sc, cursor, positions, reason), &n).do("COMMIT"))
		n += len(heads)
		return err
	})
	return n, err
}

// stopKeys parks, of each key of which nothing is held, the last of the messages that were
// delivered.
func (s *Store) stopKeys(sc *script, cursor string, positions []int64, reason string) *script {
	sc.add("INSERT IGNORE INTO ", s.schema, "uow_outbox_held (`cursor`, position, `key`, state, attempts, next_at, reason, since) SELECT ").
		text(cursor, unlimited).add(", MAX(m.position), m.ordering_key, 'parked', 0, NULL, ").text(reason, unlimited).
		add(", UTC_TIMESTAMP(6) FROM ", s.schema, "uow_outbox m WHERE m.ordering_key <> ''")
	return s.passed(sc, cursor, positions).add(" AND NOT EXISTS (SELECT 1 FROM ", s.schema, "uow_outbox_held o WHERE o.`cursor` = ").
		text(cursor, unlimited).add(" AND o.`key` = m.ordering_key) GROUP BY m.ordering_key").end()
}

// passed has a query choose those of the messages m that all partitions of a cursor have passed.
func (s *Store) passed(sc *script, cursor string, positions []int64) *script {
	return sc.add(" AND m.position IN ").positions(positions).add(" AND m.position <= (SELECT MIN(c.position) FROM ", s.schema,
		"uow_outbox_cursor c WHERE c.split = 0 AND (c.name = ").text(cursor, unlimited).add(" AND c.part_of = '' OR c.part_of = ").
		text(cursor, unlimited).add(" AND c.part_of <> ''))")
}

// Replay implements outbox.Log.
func (s *Store) Replay(ctx context.Context, cursor string, positions []int64) (n int, err error) {
	if len(positions) == 0 || cursor == "" {
		return 0, ctx.Err()
	}
	sc := s.change().add("INSERT IGNORE INTO ", s.schema, "uow_outbox_held (`cursor`, position, `key`, state, attempts, next_at, reason, since) SELECT ").
		text(cursor, unlimited).add(", m.position, m.ordering_key, IF(m.ordering_key = '', ").text(string(outbox.ReplayState("")), 16).
		add(", ").text(string(outbox.ReplayState("k")), 16).add("), 0, NULL, '', UTC_TIMESTAMP(6) FROM ", s.schema,
		"uow_outbox m WHERE TRUE")
	err = s.do(ctx, "replay", counting(s.passed(sc, cursor, positions).end(), &n).do("COMMIT"))
	return n, err
}

// counting appends a query for the number of rows that the statement before changed.
func counting(s *script, n *int) *script {
	return s.add("SELECT ROW_COUNT()").query(func(row []sqldriver.Value) error { *n = int(number(row[0])); return nil })
}

// Drop implements outbox.Log.
func (s *Store) Drop(ctx context.Context, cursor string) error {
	sc := s.change().add("DELETE FROM ", s.schema, "uow_outbox_cursor WHERE name = ").text(cursor, unlimited).add(" AND part_of = ''").end()
	if cursor != "" {
		sc.add("DELETE FROM ", s.schema, "uow_outbox_cursor WHERE part_of = ").text(cursor, unlimited).end()
	}
	return s.do(ctx, "drop", sc.
		add("DELETE FROM ", s.schema, "uow_outbox_held WHERE `cursor` = ").text(cursor, unlimited).end().
		add("DELETE FROM ", s.schema, "uow_outbox_member WHERE `cursor` = ").text(cursor, unlimited).end().do("COMMIT"))
}

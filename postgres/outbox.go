package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uow-go/uow/outbox"
)

// Settle implements outbox.Log: one round trip. The partition's row is locked first,
// and what follows reads the position that it had before.
func (s *Store) Settle(ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
	steps := []step{s.leased(lease, settlement)}
	if len(settlement.Hold) > 0 {
		steps = append(steps, s.hold(lease, settlement.Hold))
	}
	if len(settlement.Release) > 0 {
		steps = append(steps, s.release(lease.Cursor, settlement.Release, nil))
	}
	if settlement.Position > 0 || lease.TTL > 0 {
		steps = append(steps, s.extend(lease, settlement.Position))
	}
	return refusal("settle", s.do(ctx, "settle", steps...))
}

// hold holds messages, but for those at or before the position that are not held:
// they were discarded, and stay so.
func (s *Store) hold(lease outbox.Lease, holds []outbox.Hold) step {
	n := len(holds)
	a := newArgs(8*n).text(lease.Cursor).
		ints(n, func(i int) int64 { return holds[i].Position }).
		texts(n, func(i int) string { return holds[i].Key }).
		texts(n, func(i int) string { return string(holds[i].State) }).
		ints(n, func(i int) int64 { return int64(holds[i].Attempts) })
	a.times(n, func(i int) time.Time { return holds[i].NextAt })
	a.texts(n, func(i int) string { return clean(holds[i].Reason) })
	a.times(n, func(i int) time.Time { return holds[i].Since }).text(lease.Row())
	return step{args: a, statement: newStatement(`INSERT INTO `+s.schema+`.uow_outbox_held (cursor, position, key, state, attempts, next_at, reason, since)
		SELECT $1, i.* FROM unnest($2, $3, $4, $5, $6, $7, $8) AS i(position, key, state, attempts, next_at, reason, since)
		WHERE i.position > (SELECT position FROM `+s.schema+`.uow_outbox_cursor WHERE name = $9)
			OR EXISTS (SELECT FROM `+s.schema+`.uow_outbox_held h WHERE h.cursor = $1 AND h.position = i.position)
		ON CONFLICT (cursor, position) DO UPDATE SET key = excluded.key, state = excluded.state,
			attempts = excluded.attempts, next_at = excluded.next_at, reason = excluded.reason`,
		pgtype.TextOID, pgtype.Int8ArrayOID, pgtype.TextArrayOID, pgtype.TextArrayOID, pgtype.Int8ArrayOID,
		pgtype.TimestamptzArrayOID, pgtype.TextArrayOID, pgtype.TimestamptzArrayOID, pgtype.TextOID)}
}

// clean keeps a reason, which may come from anywhere, from being refused.
func clean(reason string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(reason, "\uFFFD"), "\x00", "\uFFFD")
}

// release deletes held messages, and counts them.
func (s *Store) release(cursor string, positions []int64, n *int) step {
	return step{
		statement: newStatement(`WITH d AS (DELETE FROM `+s.schema+`.uow_outbox_held WHERE cursor = $1 AND position = ANY($2) RETURNING position)
			SELECT count(*) FROM d`, pgtype.TextOID, pgtype.Int8ArrayOID),
		args: newArgs(2).text(cursor).ints(len(positions), func(i int) int64 { return positions[i] }),
		row: func(row [][]byte) error {
			if n != nil {
				*n = int(number(row[0]))
			}
			return nil
		},
	}
}

// Held implements outbox.Log.
func (s *Store) Held(ctx context.Context, cursor string, filter outbox.HeldFilter) ([]outbox.Held, error) {
	query := s.heldQuery(cursor, filter)
	var held []outbox.Held
	query.row = func(row [][]byte) error {
		m, err := decodeMessage(number(row[0]), row[7:])
		held = append(held, outbox.Held{Message: m, Hold: outbox.Hold{
			Position: m.Position,
			Key:      string(row[1]),
			State:    outbox.HoldState(row[2]),
			Attempts: int(number(row[3])),
			NextAt:   timeOf(row[4]),
			Reason:   string(row[5]),
			Since:    timeOf(row[6]),
		}})
		return err
	}
	if err := s.do(ctx, "list held messages", query); err != nil {
		return nil, err
	}
	return held, nil
}

func (s *Store) heldQuery(cursor string, filter outbox.HeldFilter) step {
	var b strings.Builder
	a, oids := newArgs(4).text(cursor), []uint32{pgtype.TextOID}
	fmt.Fprintf(&b, `SELECT h.position, h.key, h.state, h.attempts, h.next_at, h.reason, h.since,
		%s FROM %s.uow_outbox_held h JOIN %s.uow_outbox m USING (position) WHERE h.cursor = $1`,
		"m."+strings.ReplaceAll(messageColumns, ", ", ", m."), s.schema, s.schema)
	where := func(condition string, oid uint32) {
		oids = append(oids, oid)
		fmt.Fprintf(&b, condition, len(oids))
	}
	if filter.State != "" {
		a.text(string(filter.State))
		where(" AND h.state = $%d", pgtype.TextOID)
	}
	if filter.Key != nil {
		a.text(*filter.Key)
		where(" AND h.key = $%d", pgtype.TextOID)
	}
	if filter.After > 0 {
		a.int(filter.After)
		where(" AND h.position > $%d", pgtype.Int8OID)
	}
	if !filter.DueAt.IsZero() {
		a.time(filter.DueAt)
		where(" AND h.state = 'retrying' AND (h.next_at IS NULL OR h.next_at <= $%d)", pgtype.TimestamptzOID)
	}
	if !filter.Share.Whole() {
		a.int(int64(filter.Share.Of)).ints(len(filter.Share.Partitions), func(i int) int64 { return int64(filter.Share.Partitions[i]) })
		oids = append(oids, pgtype.Int8OID, pgtype.Int8ArrayOID)
		fmt.Fprintf(&b, " AND %s %% $%d = ANY($%d)", partition("m"), len(oids)-1, len(oids))
	}
	b.WriteString(" ORDER BY h.position")
	if filter.Limit > 0 {
		a.int(int64(filter.Limit))
		where(" LIMIT $%d", pgtype.Int8OID)
	}
	return step{statement: newStatement(b.String(), oids...), args: a}
}

// Redrive implements outbox.Log.
func (s *Store) Redrive(ctx context.Context, cursor string, positions []int64) (n int, err error) {
	err = s.do(ctx, "redrive", step{
		statement: newStatement(`WITH u AS (UPDATE `+s.schema+`.uow_outbox_held SET state = 'retrying', attempts = 0, next_at = since
			WHERE cursor = $1 AND position = ANY($2) AND state = 'parked' RETURNING position) SELECT count(*) FROM u`,
			pgtype.TextOID, pgtype.Int8ArrayOID),
		args: newArgs(2).text(cursor).ints(len(positions), func(i int) int64 { return positions[i] }),
		row:  func(row [][]byte) error { n = int(number(row[0])); return nil },
	})
	return n, err
}

// Discard implements outbox.Log.
func (s *Store) Discard(ctx context.Context, cursor string, positions []int64) (n int, err error) {
	err = s.do(ctx, "discard", s.release(cursor, positions, &n))
	return n, err
}

// Park implements outbox.Log.
func (s *Store) Park(ctx context.Context, cursor string, positions []int64, reason string) (n int, err error) {
	err = s.do(ctx, "park", step{
		statement: s.sqlf(`WITH u AS (UPDATE %[1]s.uow_outbox_held h SET state = 'parked', next_at = NULL, reason = $3
			WHERE cursor = $1 AND position = ANY($2) AND state <> 'parked' AND NOT EXISTS (SELECT FROM %[1]s.uow_outbox_held o
				WHERE o.cursor = $1 AND o.key = h.key AND h.key <> '' AND o.position < h.position)
			RETURNING position), i AS (INSERT INTO %[1]s.uow_outbox_held (cursor, position, key, state, attempts, reason, since)
			SELECT DISTINCT ON (ordering_key) $1, position, ordering_key, 'parked', 0, $3, clock_timestamp()
			FROM %[1]s.uow_outbox m WHERE position = ANY($2) AND ordering_key <> '' AND position <= `+passedByAll+`
				AND NOT EXISTS (SELECT FROM %[1]s.uow_outbox_held o WHERE o.cursor = $1 AND o.key = m.ordering_key)
			ORDER BY ordering_key, position DESC ON CONFLICT (cursor, position) DO NOTHING RETURNING position)
			SELECT (SELECT count(*) FROM u) + (SELECT count(*) FROM i)`, pgtype.TextOID, pgtype.Int8ArrayOID, pgtype.TextOID),
		args: newArgs(3).text(cursor).ints(len(positions), func(i int) int64 { return positions[i] }).text(clean(reason)),
		row:  func(row [][]byte) error { n = int(number(row[0])); return nil },
	})
	return n, err
}

// Replay implements outbox.Log.
func (s *Store) Replay(ctx context.Context, cursor string, positions []int64) (n int, err error) {
	err = s.do(ctx, "replay", s.replay(cursor, positions, &n))
	return n, err
}

// passedByAll is the position that all partitions of the cursor $1 have passed.
const passedByAll = `(SELECT min(position) FROM %[1]s.uow_outbox_cursor
	WHERE split = 0 AND (name = $1 AND part_of = '' OR part_of = $1 AND $1 <> ''))`

// replay holds messages again, and counts them.
func (s *Store) replay(cursor string, positions []int64, n *int) step {
	return step{
		statement: s.sqlf(`WITH i AS (INSERT INTO %[1]s.uow_outbox_held (cursor, position, key, state, attempts, reason, since)
			SELECT $1, position, ordering_key, CASE WHEN ordering_key = '' THEN $3 ELSE $4 END, 0, '', clock_timestamp()
			FROM %[1]s.uow_outbox WHERE position = ANY($2) AND position <= `+passedByAll+`
			ON CONFLICT (cursor, position) DO NOTHING RETURNING position) SELECT count(*) FROM i`,
			pgtype.TextOID, pgtype.Int8ArrayOID, pgtype.TextOID, pgtype.TextOID),
		args: newArgs(4).text(cursor).ints(len(positions), func(i int) int64 { return positions[i] }).
			text(string(outbox.ReplayState(""))).text(string(outbox.ReplayState("k"))),
		row: func(row [][]byte) error { *n = int(number(row[0])); return nil },
	}
}

// Drop implements outbox.Log.
func (s *Store) Drop(ctx context.Context, cursor string) error {
	var steps []step
	for _, query := range []string{
		`DELETE FROM %[1]s.uow_outbox_cursor WHERE name = $1 AND part_of = '' OR part_of = $1 AND $1 <> ''`,
		`DELETE FROM %[1]s.uow_outbox_held WHERE cursor = $1`,
		`DELETE FROM %[1]s.uow_outbox_member WHERE cursor = $1`,
	} {
		steps = append(steps, step{statement: s.sqlf(query, pgtype.TextOID), args: newArgs(1).text(cursor)})
	}
	return s.do(ctx, "drop", steps...)
}

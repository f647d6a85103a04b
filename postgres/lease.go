package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uow-go/uow/outbox"
)

const (
	text, integer, flag = pgtype.TextOID, pgtype.Int8OID, pgtype.BoolOID

	// end is the log's end, of a row of uow_state.
	end = `greatest(trimmed, (SELECT max(position) FROM %[1]s.uow_outbox))`
)

// sqlf makes a statement in which %[1]s is the schema.
func (s *Store) sqlf(query string, oids ...uint32) *statement {
	return newStatement(fmt.Sprintf(query, s.schema), oids...)
}

// Acquire implements outbox.Log: one round trip. The one row of uow_state puts those
// who acquire at once in an order.
func (s *Store) Acquire(ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
	if err := claim.Check(); err != nil {
		return outbox.Lease{}, fmt.Errorf("postgres: acquire: %w", err)
	}
	lease := claim.Lease()
	n := lease.Partitions
	rows := partitionRows(lease.Cursor, n)
	steps := []step{s.refuseVolatile(), plain(s.sqlf(`UPDATE %[1]s.uow_state SET epochs = epochs + 1`))}
	if n == 1 {
		steps = append(steps, step{
			statement: s.sqlf(`INSERT INTO %[1]s.uow_outbox_cursor (name, position, epoch) VALUES ($1, 0, 0) ON CONFLICT (name) DO NOTHING`, text),
			args:      newArgs(1).text(lease.Cursor),
		})
	} else {
		steps = append(steps, step{
			statement: s.sqlf(`WITH known AS MATERIALIZED (SELECT FROM %[1]s.uow_outbox_cursor WHERE name = $1),
				c AS (INSERT INTO %[1]s.uow_outbox_cursor (name, position, epoch, split) SELECT $1, 0, 0, $2 WHERE NOT EXISTS (SELECT FROM known))
				INSERT INTO %[1]s.uow_outbox_cursor (name, position, epoch, part_of) SELECT row, 0, 0, $1
				FROM unnest($3) row WHERE NOT EXISTS (SELECT FROM known)`, text, integer, pgtype.TextArrayOID),
			args: newArgs(3).text(lease.Cursor).int(int64(n)).texts(n, func(i int) string { return rows[i] }),
		})
	}
	steps = append(steps, s.refuseClaim(claim, lease), step{
		statement: s.sqlf(`UPDATE %[1]s.uow_outbox_cursor c SET epoch = s.epochs, owner = $2,
			expires_at = clock_timestamp() + $3 * interval '1 microsecond'
			FROM %[1]s.uow_state s WHERE c.name = $1 RETURNING c.position, c.epoch, s.log, clock_timestamp()`, text, text, integer),
		args: newArgs(3).text(lease.Row()).text(claim.Owner).int(claim.TTL.Microseconds()),
		row: func(row [][]byte) error {
			lease.Position, lease.Epoch, lease.Log, lease.Now = number(row[0]), number(row[1]), string(row[2]), timeOf(row[3])
			return nil
		},
	})
	if err := s.do(ctx, "acquire", steps...); err != nil {
		return outbox.Lease{}, refusal("acquire", err)
	}
	return lease, nil
}

// refuseClaim ends the transaction when a claim can't be had.
func (s *Store) refuseClaim(claim outbox.Claim, lease outbox.Lease) step {
	return step{
		statement: s.sqlf(`SELECT %[1]s.uow_refuse_relay(CASE WHEN greatest(c.split, 1) <> $3 THEN 'UW003'
			WHEN NOT $4 AND r.owner <> $5 AND r.expires_at > clock_timestamp() THEN 'UW004'
			WHEN r.position > (SELECT `+end+` FROM %[1]s.uow_state) THEN 'UW005' END)
			FROM %[1]s.uow_outbox_cursor c LEFT JOIN %[1]s.uow_outbox_cursor r ON r.name = $2 WHERE c.name = $1`,
			text, text, integer, flag, text),
		args: newArgs(5).text(lease.Cursor).text(lease.Row()).int(int64(lease.Partitions)).bool(claim.Force).text(claim.Owner),
	}
}

// partitionRows returns the names of the rows of a cursor's partitions.
func partitionRows(cursor string, of int) []string {
	rows := make([]string, of)
	for i := range rows {
		rows[i] = outbox.PartitionRow(cursor, i, of)
	}
	return rows
}

// refusal makes of an error of the server what it means to a relay.
func refusal(what string, err error) error {
	for refused, meant := range map[string]error{
		codeLeaseLost: outbox.ErrLeaseLost, codePartitions: outbox.ErrPartitions, codeLeaseHeld: outbox.ErrLeaseHeld,
		codeRestored: outbox.ErrRestored, codePositions: errors.New("the partitions are at different positions"),
		codeNotDurable: fmt.Errorf("the server runs with fsync = off, and Options.Volatile is not set: %w", outbox.ErrNotDurable),
	} {
		if code(err) == refused {
			return fmt.Errorf("postgres: %s: %w", what, meant)
		}
	}
	return err
}

// leased locks the row of a lease, and ends the transaction unless the lease is the
// newest, and the log and the position are those that it knows.
func (s *Store) leased(lease outbox.Lease, settlement outbox.Settlement) step {
	at, moved, asked := settlement.Left()
	return step{
		statement: s.sqlf(`WITH c AS MATERIALIZED (SELECT position FROM %[1]s.uow_outbox_cursor
				WHERE name = $1 AND epoch = $2 AND owner = $3 FOR UPDATE)
			SELECT %[1]s.uow_refuse_relay(CASE WHEN NOT EXISTS (SELECT FROM c) THEN 'UW002'
				WHEN (SELECT log FROM %[1]s.uow_state) <> $4 THEN 'UW005'
				WHEN $7 AND (SELECT position FROM c) NOT IN ($5, $6) THEN 'UW005' END)`,
			text, integer, text, text, integer, integer, flag),
		args: newArgs(7).text(lease.Row()).int(lease.Epoch).text(lease.Owner).text(lease.Log).int(at).int(moved).bool(asked),
	}
}

// extend moves the position of a lease, and the time when it expires.
func (s *Store) extend(lease outbox.Lease, position int64) step {
	return step{
		statement: s.sqlf(`UPDATE %[1]s.uow_outbox_cursor SET position = CASE WHEN $2 > 0 THEN $2 ELSE position END,
			expires_at = clock_timestamp() + $3 * interval '1 microsecond' WHERE name = $1`, text, integer, integer),
		args: newArgs(3).text(lease.Row()).int(position).int(lease.TTL.Microseconds()),
	}
}

// Release implements outbox.Log.
func (s *Store) Release(ctx context.Context, lease outbox.Lease) error {
	return s.do(ctx, "release", step{
		statement: s.sqlf(`UPDATE %[1]s.uow_outbox_cursor SET expires_at = NULL WHERE name = $1 AND epoch = $2 AND owner = $3`, text, integer, text),
		args:      newArgs(3).text(lease.Row()).int(lease.Epoch).text(lease.Owner),
	})
}

// Join implements outbox.Log. Members that are gone for an hour are forgotten by the
// way; no sooner, so that two that come back can't wait for each other.
func (s *Store) Join(ctx context.Context, cursor, member string, ttl time.Duration) (members []string, err error) {
	err = s.do(ctx, "join",
		step{
			statement: s.sqlf(`INSERT INTO %[1]s.uow_outbox_member (cursor, member, expires_at)
				VALUES ($1, $2, clock_timestamp() + $3 * interval '1 microsecond')
				ON CONFLICT (cursor, member) DO UPDATE SET expires_at = excluded.expires_at`, text, text, integer),
			args: newArgs(3).text(cursor).text(member).int(ttl.Microseconds()),
		}, step{
			statement: s.sqlf(`DELETE FROM %[1]s.uow_outbox_member WHERE cursor = $1 AND expires_at < clock_timestamp() - interval '1 hour'`, text),
			args:      newArgs(1).text(cursor),
		}, step{
			statement: s.sqlf(`SELECT member FROM %[1]s.uow_outbox_member WHERE cursor = $1 AND expires_at > clock_timestamp() ORDER BY member`, text),
			args:      newArgs(1).text(cursor),
			row:       func(row [][]byte) error { members = append(members, string(row[0])); return nil },
		})
	if err != nil {
		return nil, err
	}
	return members, nil
}

// Resplit implements outbox.Log.
func (s *Store) Resplit(ctx context.Context, leases []outbox.Lease, partitions int) error {
	if err := outbox.CheckResplit(leases, partitions); err != nil {
		return fmt.Errorf("postgres: resplit: %w", err)
	}
	cursor, n := leases[0].Cursor, len(leases)
	rows := partitionRows(cursor, partitions)
	steps := []step{plain(s.sqlf(`UPDATE %[1]s.uow_state SET epochs = epochs + 1`))}
	for _, lease := range leases {
		steps = append(steps, s.leased(lease, outbox.Settlement{}))
	}
	where := func() *args { return newArgs(4).texts(n, func(i int) string { return leases[i].Row() }) }
	steps = append(steps, step{
		statement: s.sqlf(`SELECT %[1]s.uow_refuse_relay(CASE WHEN min(position) <> max(position) THEN 'UW006' END)
			FROM %[1]s.uow_outbox_cursor WHERE name = ANY($1)`, pgtype.TextArrayOID),
		args: where(),
	})
	if n == partitions {
		return refusal("resplit", s.do(ctx, "resplit", steps...))
	}
	if partitions > 1 {
		steps = append(steps, step{
			statement: s.sqlf(`INSERT INTO %[1]s.uow_outbox_cursor (name, part_of, position, epoch) SELECT row, $2,
				(SELECT min(position) FROM %[1]s.uow_outbox_cursor WHERE name = ANY($1)), (SELECT epochs FROM %[1]s.uow_state)
				FROM unnest($3) row`, pgtype.TextArrayOID, text, pgtype.TextArrayOID),
			args: where().text(cursor).texts(partitions, func(i int) string { return rows[i] }),
		}, step{
			statement: s.sqlf(`UPDATE %[1]s.uow_outbox_cursor SET split = $2, position = 0, epoch = 0, owner = '', expires_at = NULL WHERE name = $1`, text, integer),
			args:      newArgs(2).text(cursor).int(int64(partitions)),
		})
	} else {
		steps = append(steps, step{
			statement: s.sqlf(`UPDATE %[1]s.uow_outbox_cursor SET split = 0, owner = '', expires_at = NULL, epoch = (SELECT epochs FROM %[1]s.uow_state),
				position = (SELECT min(position) FROM %[1]s.uow_outbox_cursor WHERE name = ANY($1)) WHERE name = $2`, pgtype.TextArrayOID, text),
			args: where().text(cursor),
		})
	}
	if n > 1 {
		steps = append(steps, step{statement: s.sqlf(`DELETE FROM %[1]s.uow_outbox_cursor WHERE name = ANY($1)`, pgtype.TextArrayOID), args: where()})
	}
	return refusal("resplit", s.do(ctx, "resplit", steps...))
}

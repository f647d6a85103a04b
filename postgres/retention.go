package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uow-go/uow/outbox"
)

// counted is up to how many messages Stats counts.
const counted = 1_000_000

// Stats implements outbox.Log. Of a log with more than a million messages the
// number is the server's estimate.
func (s *Store) Stats(ctx context.Context) (stats outbox.Stats, err error) {
	members := map[string][]string{}
	err = s.do(ctx, "stats",
		step{
			statement: newStatement(`SELECT greatest(trimmed, (SELECT max(position) FROM `+s.schema+`.uow_outbox)),
				(SELECT count(*) FROM (SELECT FROM `+s.schema+`.uow_outbox LIMIT $1 + 1) m),
				(SELECT sum(greatest(c.reltuples, 0))::bigint FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = `+literal(s.schema+".uow_outbox")+`::regclass), log,
				(SELECT count(*) FROM `+s.schema+`.uow_outbox_delayed)
				FROM `+s.schema+`.uow_state`, pgtype.Int8OID),
			args: newArgs(1).int(counted),
			row: func(row [][]byte) error {
				stats.End, stats.Messages, stats.Log = number(row[0]), number(row[1]), string(row[3])
				stats.Delayed = number(row[4])
				if stats.Messages > counted {
					stats.Messages = max(stats.Messages, number(row[2]))
				}
				return nil
			},
		}, step{
			statement: newStatement(s.cursorStats()),
			row: func(row [][]byte) error {
				stats.Cursors = append(stats.Cursors, outbox.CursorStats{
					Cursor:   string(row[0]),
					Position: number(row[1]),
					Epoch:    number(row[2]),
					Retrying: number(row[3]),
					Waiting:  number(row[4]),
					Parked:   number(row[5]),
					OldestAt: timeOf(row[6]),
					Parts:    []outbox.PartStats{{Owner: string(row[7]), ExpiresAt: timeOf(row[8])}},
				})
				return nil
			},
		}, step{
			statement: s.sqlf(`SELECT cursor, member FROM %[1]s.uow_outbox_member WHERE expires_at > clock_timestamp() ORDER BY cursor, member`),
			row: func(row [][]byte) error {
				members[string(row[0])] = append(members[string(row[0])], string(row[1]))
				return nil
			},
		})
	stats.Cursors = outbox.MergeCursorStats(stats.Cursors, members)
	return stats, err
}

// cursorStats takes the first message after a cursor for the oldest, since looking
// at all of a backlog would cost too much.
func (s *Store) cursorStats() string {
	return `SELECT c.name, c.position, c.epoch, h.retrying, h.waiting, h.parked,
		least((SELECT created_at FROM ` + s.schema + `.uow_outbox m WHERE m.position > c.position ORDER BY m.position LIMIT 1), h.oldest), c.owner, c.expires_at
		FROM ` + s.schema + `.uow_outbox_cursor c, LATERAL (SELECT count(*) FILTER (WHERE state = 'retrying') AS retrying,
			count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'parked') AS parked,
			min(m.created_at) AS oldest
			FROM ` + s.schema + `.uow_outbox_held h JOIN ` + s.schema + `.uow_outbox m USING (position)
			WHERE h.cursor = CASE WHEN c.part_of = '' THEN c.name ELSE c.part_of END) h
		WHERE c.split = 0 ORDER BY c.name`
}

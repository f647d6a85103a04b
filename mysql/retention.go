package mysql

import (
	"context"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/outbox"
)

// young is how many messages beyond the limit a trim looks at for some that are old
// enough: positions follow time but for differing clocks, and the whole log is not
// read to find a straggler.
const young = 1000

// Trim implements outbox.Log. Nothing is deleted while there is no cursor. A message
// that every cursor has passed is held from then on, or never.
func (s *Store) Trim(ctx context.Context, before time.Time, limit int) (n int, err error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	var old []int64
	sc := newScript().add("SELECT m.position, m.created_at < ").time(before).
		add(" FROM ", s.schema, "uow_outbox m WHERE m.position <= (SELECT MIN(position) FROM ", s.schema, "uow_outbox_cursor WHERE split = 0)",
			" AND NOT EXISTS (SELECT 1 FROM ", s.schema, "uow_outbox_held h WHERE h.position = m.position) ORDER BY m.position LIMIT ").
		int(int64(limit) + young).query(func(row []sqldriver.Value) error {
		if len(old) < limit && number(row[1]) != 0 {
			old = append(old, number(row[0]))
		}
		return nil
	})
	if err := s.do(ctx, "trim", sc); err != nil || len(old) == 0 {
		return 0, err
	}
	sc = s.change()
	counts := make([]int, 0, len(old)/bunch+1)
	in(old, func(part []int64) {
		counts = append(counts, 0)
		sc.add("DELETE FROM ", s.schema, "uow_outbox WHERE position IN ").positions(part).end()
		counting(sc, &counts[len(counts)-1])
	})
	sc.add("UPDATE ", s.schema, "uow_state SET trimmed = GREATEST(trimmed, ").int(old[len(old)-1]).do(")").do("COMMIT")
	if err := s.do(ctx, "trim", sc); err != nil {
		return 0, err
	}
	for _, count := range counts {
		n += count
	}
	return n, nil
}

// counted is up to how many messages Stats counts.
const counted = 1_000_000

// Stats implements outbox.Log. Of a log with more than a million messages the
// number is the server's estimate.
func (s *Store) Stats(ctx context.Context) (stats outbox.Stats, err error) {
	sc := newScript()
	s.begin(sc, RepeatableRead, true)
	sc.add("SELECT ", s.logEnd(), ",",
		" (SELECT COUNT(*) FROM (SELECT 1 FROM ", s.schema, "uow_outbox LIMIT ").int(counted+1).add(") AS some),",
		" COALESCE((SELECT table_rows FROM information_schema.tables WHERE table_name = 'uow_outbox' AND table_schema = ").quoted(s.database).
		add("), 0), log_id, (SELECT COUNT(*) FROM ", s.schema, "uow_outbox_delayed) FROM ", s.schema, "uow_state").
		query(func(row []sqldriver.Value) error {
			stats.End, stats.Messages, stats.Log = number(row[0]), number(row[1]), text(row[3])
			stats.Delayed = number(row[4])
			if stats.Messages > counted {
				stats.Messages = max(stats.Messages, number(row[2]))
			}
			return nil
		})
	s.cursorStats(sc).query(func(row []sqldriver.Value) error {
		c := outbox.CursorStats{
			Cursor: text(row[0]), Position: number(row[1]), Epoch: number(row[2]),
			Retrying: number(row[3]), Waiting: number(row[4]), Parked: number(row[5]),
			OldestAt: timeOf(row[6]),
		}
		if held := timeOf(row[7]); c.OldestAt.IsZero() || !held.IsZero() && held.Before(c.OldestAt) {
			c.OldestAt = held
		}
		c.Parts = []outbox.PartStats{{Owner: text(row[8]), ExpiresAt: timeOf(row[9])}}
		stats.Cursors = append(stats.Cursors, c)
		return nil
	})
	members := map[string][]string{}
	sc.add("SELECT `cursor`, member FROM ", s.schema, "uow_outbox_member WHERE expires_at > UTC_TIMESTAMP(6) ORDER BY `cursor`, member").
		query(func(row []sqldriver.Value) error {
			members[text(row[0])] = append(members[text(row[0])], text(row[1]))
			return nil
		})
	err = s.do(ctx, "stats", sc.do("COMMIT"))
	stats.Cursors = outbox.MergeCursorStats(stats.Cursors, members)
	return stats, err
}

// cursorStats takes the first message after a cursor for the oldest, since looking
// at all of a backlog would cost too much.
func (s *Store) cursorStats(sc *script) *script {
	count := func(state string) string {
		return " (SELECT COUNT(*) FROM " + s.schema + "uow_outbox_held h WHERE h.cursor = IF(c.part_of = '', c.name, c.part_of) AND h.state = '" + state + "'),"
	}
	return sc.add("SELECT c.name, c.position, c.epoch,", count("retrying"), count("waiting"), count("parked"),
		" CAST((SELECT m.created_at FROM ", s.schema, "uow_outbox m WHERE m.position > c.position ORDER BY m.position LIMIT 1) AS CHAR),",
		" CAST((SELECT MIN(m.created_at) FROM ", s.schema, "uow_outbox_held h JOIN ", s.schema,
		"uow_outbox m ON m.position = h.position WHERE h.cursor = IF(c.part_of = '', c.name, c.part_of)) AS CHAR), c.owner, CAST(c.expires_at AS CHAR) FROM ", s.schema, "uow_outbox_cursor c WHERE c.split = 0 ORDER BY c.name")
}

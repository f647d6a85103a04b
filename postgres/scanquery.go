package postgres

import (
	"strings"

	"github.com/uow-go/uow/outbox"
)

// scanQuery returns the query for the log after a position. Of what is not wanted only
// the positions are sent.
func (s *Store) scanQuery(q outbox.Query) step {
	if q.All() {
		return step{statement: s.sql.scan, args: newArgs(2).int(q.After).int(int64(q.Limit))}
	}
	window := max(int64(q.Limit), 1000)
	a := newArgs(5).int(q.After).int(window).texts(len(q.Topics), func(i int) string { return q.Topics[i] })
	if q.Share.Whole() {
		return step{statement: s.sql.scanTopics, args: a}
	}
	a.int(int64(q.Share.Of)).ints(len(q.Share.Partitions), func(i int) int64 { return int64(q.Share.Partitions[i]) })
	return step{statement: s.sql.scanShare, args: a}
}

// scanOf is the query for what is wanted of a window after a position. The window is
// read as a whole, in the order of the index; a join of it with what is wanted would be
// planned as if it were a large part of the log.
func scanOf(schema, wanted string) string {
	sent := `CASE WHEN wanted THEN ` + strings.ReplaceAll(messageColumns, `, `, ` END, CASE WHEN wanted THEN `) + ` END`
	return `SELECT position, wanted, synced, ` + sent + ` FROM (SELECT *, ` + wanted + ` AS wanted FROM ` + schema + `.uow_outbox
		WHERE position > $1 ORDER BY position LIMIT $2) w ORDER BY position`
}

// partition is the number of which outbox.Partition is the remainder, of a message. It
// is worked out when it is asked for: appending, which is what there is most of, costs
// nothing, and messages of programs that know no partitions have one.
func partition(table string) string {
	return `('x' || left(encode(sha256(convert_to(CASE WHEN ` + table + `.ordering_key = '' THEN ` + table + `.id ELSE ` +
		table + `.ordering_key END, 'UTF8')), 'hex'), 6))::bit(24)::bigint`
}

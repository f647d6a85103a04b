package mysql

import "github.com/uow-go/uow/outbox"

// scanQuery returns the query for the log after a position, which its caller has to
// end. Of what is not wanted only the positions are sent.
func (s *Store) scanQuery(q outbox.Query) *script {
	sc := newScript()
	if q.All() {
		return sc.add("SELECT position, 1, ", messageColumns, " FROM ", s.schema, "uow_outbox WHERE position > ").int(q.After).
			add(" ORDER BY position LIMIT ").int(int64(q.Limit))
	}
	sc.add(`SELECT m.position, w.position IS NOT NULL, w.id, w.topic, w.ordering_key, w.type, w.aggregatetype, w.aggregateid,
		w.sequence, w.headers, CAST(w.created_at AS CHAR), w.payload FROM (SELECT position FROM `, s.schema, "uow_outbox WHERE position > ").
		int(q.After).add(" ORDER BY position LIMIT ").int(int64(max(q.Limit, 1000))).
		add(") AS m LEFT JOIN ", s.schema, "uow_outbox AS w ON w.position = m.position")
	if len(q.Topics) > 0 {
		sc.add(" AND w.topic IN (").list(len(q.Topics), func(i int) { sc.text(q.Topics[i], unlimited) }).add(")")
	}
	return inShare(sc, "w", q.Share).add(" ORDER BY m.position")
}

// inShare appends the condition that a message is in a share. Its partition is worked
// out when it is asked for: appending, which is what there is most of, costs nothing,
// and messages of programs that know no partitions have one.
func inShare(sc *script, table string, share outbox.Share) *script {
	if share.Whole() {
		return sc
	}
	sc.add(" AND CAST(CONV(LEFT(SHA2(IF(", table, ".ordering_key = '', ", table, ".id, ", table, ".ordering_key), 256), 6), 16, 10) AS UNSIGNED) % ").
		int(int64(share.Of)).add(" IN (-1")
	for _, p := range share.Partitions {
		sc.add(", ").int(int64(p))
	}
	return sc.add(")")
}

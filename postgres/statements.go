package postgres

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"
)

// statements are those that do not depend on a collection.
type statements struct {
	begin                   [Serializable + 1]*statement
	commit, rollback        *statement
	beginReading, export    *statement
	mark                    *statement
	appendOne, appendMany   *statement
	markOne                 *statement
	appendShifted           *statement
	scan, scanTopics, locks *statement
	scanShare               *statement
	delay, promote          *statement

	startTogether, markTogether           *statement
	appendTogether, appendTogetherShifted *statement
}

const messageColumns = `id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, headers, created_at, payload`

// messageTypes are those of messageColumns.
func messageTypes() []uint32 {
	const text, number, json, time, bytea = pgtype.TextOID, pgtype.Int8OID, pgtype.JSONOID, pgtype.TimestamptzOID, pgtype.ByteaOID
	return []uint32{text, text, text, text, text, text, number, json, time, bytea}
}

func newStatements(schema string) *statements {
	const number = pgtype.Int8OID
	one := messageTypes()
	many := make([]uint32, len(one))
	for i, oid := range one {
		many[i] = arrayOID(oid)
	}
	into := `INSERT INTO ` + schema + `.uow_outbox (` + messageColumns + `) `
	s := &statements{
		commit:       newStatement(`COMMIT`),
		rollback:     newStatement(`ROLLBACK`),
		beginReading: newStatement(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`),
		export:       newStatement(`SELECT pg_export_snapshot()`),
		mark:         newStatement(`INSERT INTO `+schema+`.uow_units (unit) VALUES ($1)`, pgtype.UUIDOID),
		appendOne:    newStatement(into+`VALUES (`+params(1, len(one))+`)`, one...).telling(givenToOne),
		markOne:      newStatement(`WITH k AS (INSERT INTO `+schema+`.uow_units (unit) VALUES ($11)) `+into+`VALUES (`+params(1, len(one))+`)`, append(one[:len(one):len(one)], pgtype.UUIDOID)...).telling(givenToOne),
		appendMany:   newStatement(into+`SELECT * FROM unnest(`+params(1, len(one))+`)`, many...).telling(givenToMany),
		// Messages of rows that were inserted go on from what is remembered of
		// deleted ones, which is named by two more columns.
		appendShifted: newStatement(into+`SELECT i.c1, i.c2, i.c3, i.c4, i.c5, i.c6, i.c7 + coalesce(g.sequence, 0), i.c8, i.c9, i.c10
			FROM unnest(`+params(1, 12)+`) WITH ORDINALITY AS i(`+aliases(12)+`, n)
			LEFT JOIN `+schema+`.uow_tombstones g ON g.collection = i.c11 AND g.id = i.c12 ORDER BY i.n`,
			append(many[:len(many):len(many)], pgtype.TextArrayOID, pgtype.TextArrayOID)...),
		scan: newStatement(`SELECT position, true, synced, `+messageColumns+` FROM `+schema+`.uow_outbox
			WHERE position > $1 ORDER BY position LIMIT $2`, number, number),
		locks: newStatement(`SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation'
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND relation = ` + literal(schema+".uow_outbox") + `::regclass AND mode = 'RowExclusiveLock' AND granted`),
	}
	s.messagesTogether(schema, into, many)
	s.delayed(schema, many)
	s.scanTopics = newStatement(scanOf(schema, `topic = ANY($3)`), number, number, pgtype.TextArrayOID)
	s.scanShare = newStatement(scanOf(schema, `(cardinality($3) = 0 OR topic = ANY($3)) AND `+partition("uow_outbox")+` % $4 = ANY($5)`),
		number, number, pgtype.TextArrayOID, number, pgtype.Int8ArrayOID)
	for level, name := range map[Isolation]string{
		ReadCommitted: "READ COMMITTED", RepeatableRead: "REPEATABLE READ", Serializable: "SERIALIZABLE",
	} {
		s.begin[level] = newStatement(fmt.Sprintf("BEGIN ISOLATION LEVEL %s READ WRITE", name))
	}
	return s
}

package postgres

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"
)

// together are a collection's statements for several units at once. Each row comes
// with the number of its unit, and those of units that are out are left alone.
type together struct {
	lock, lockKeys, share  *statement
	taken                  []*statement // one for each unique index
	update, insert, remove *statement
	resume                 *statement
}

// A unit is out when its number is in this setting, which ends with the transaction.
const (
	outSetting = `uow.out`
	isIn       = `i.unit <> ALL ((SELECT current_setting('` + outSetting + `')::bigint[])::bigint[])`
	// putOut adds the units of b to those that are out.
	putOut = `s AS MATERIALIZED (SELECT set_config('` + outSetting + `', (current_setting('` + outSetting + `')::bigint[]
		|| (SELECT array_agg(DISTINCT unit) FROM b))::text, true) WHERE EXISTS (SELECT FROM b))`
)

// maxLockWait is how long a statement of a group waits for a lock. Rows are not
// waited for at all, so that this is for keys that others are inserting, and for
// tables.
const maxLockWait = `100ms`

// startTogether begins a group: nobody is out.
func startTogether() *statement {
	return newStatement(`SELECT set_config('` + outSetting + `', '{}', true), set_config('lock_timeout', '` + maxLockWait + `', true)`)
}

func newTogether(t *table, schema string) *together {
	const texts, ints = pgtype.TextArrayOID, pgtype.Int8ArrayOID
	columns, sets := "id, version, sequence, body", ""
	inserted := []uint32{texts, ints, ints, arrayOID(t.body)}
	g := &together{
		lock:     t.deciding("FOR NO KEY UPDATE"),
		lockKeys: t.deciding("FOR UPDATE"),
		share:    t.deciding("FOR SHARE"),
	}
	for i, index := range t.desc.Indexes {
		name, list := quote(index.Name), arrayOID(kindOID(index.Kind))
		columns += ", " + name
		sets += fmt.Sprintf(", %s = i.c%d", name, 6+i)
		inserted = append(inserted, list)
		if index.Unique {
			g.taken = append(g.taken, newStatement(`WITH b AS MATERIALIZED (SELECT i.unit FROM unnest($1, $2, $3) AS i(id, value, unit)`+
				` WHERE EXISTS (SELECT FROM `+t.name+` t WHERE t.`+name+` = i.value AND t.id <> i.id)), `+putOut+
				` SELECT b.unit FROM b, s`, texts, list, ints))
		}
	}
	n := len(inserted)
	g.insert = newStatement(fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM unnest(%s) WITH ORDINALITY AS i(%s, unit, n) WHERE %s ORDER BY i.n`,
		t.name, columns, aliases(n), params(1, n+1), aliases(n), isIn), append(inserted[:n:n], ints)...)
	updated := append(withExpected(inserted), ints)
	g.update = newStatement(fmt.Sprintf(`WITH w AS (UPDATE %s t SET version = i.c3, sequence = i.c4, body = i.c5%s FROM unnest(%s) AS i(%s, unit)`+
		` WHERE t.id = i.c1 AND t.version = i.c2 AND %s RETURNING t.id) %s`,
		t.name, sets, params(1, n+2), aliases(n+1), isIn, t.missed(schema, n+2)), updated...)
	g.remove = t.removalTogether(schema)
	if !t.desc.Disposable {
		g.resume = newStatement(`UPDATE `+t.name+` t SET version = t.version + g.version, sequence = t.sequence + g.sequence`+
			` FROM `+schema+`.uow_tombstones g, unnest($1, $2) AS i(id, unit) WHERE g.collection = `+literal(t.desc.Name)+
			` AND g.id = t.id AND t.id = i.id AND `+isIn+` RETURNING t.id, g.version, g.sequence`, texts, ints)
	}
	return g
}

// missed ends the transaction when one of the rows was not written although it is
// locked and has its version: a trigger may have done that.
func (t *table) missed(schema string, unit int) string {
	return fmt.Sprintf(`SELECT %s.uow_refuse(%s, array_agg(i.id)) FROM unnest($1, $%d) AS i(id, unit)`+
		` WHERE %s AND NOT EXISTS (SELECT FROM w WHERE w.id = i.id) HAVING count(*) > 0`, schema, literal(t.desc.Name), unit, isIn)
}

// deciding locks rows, as far as nobody else has them, and puts out the units of
// those that do not have their version, or are not there, or are locked by others. It
// returns the places of those rows, with the versions of the ones that it has locked.
func (t *table) deciding(mode string) *statement {
	return newStatement(`WITH l AS MATERIALIZED (SELECT id, version FROM `+t.name+` WHERE id = ANY($1) ORDER BY id `+mode+` SKIP LOCKED),`+
		` b AS MATERIALIZED (SELECT i.n, i.unit, l.version FROM unnest($1, $2, $3) WITH ORDINALITY AS i(id, expected, unit, n)`+
		` LEFT JOIN l ON l.id = i.id WHERE coalesce(l.version, 0) <> i.expected), `+putOut+
		` SELECT b.n, b.version FROM b, s`, pgtype.TextArrayOID, pgtype.Int8ArrayOID, pgtype.Int8ArrayOID)
}

func (t *table) removalTogether(schema string) *statement {
	const texts, ints = pgtype.TextArrayOID, pgtype.Int8ArrayOID
	rows := `WITH w AS (DELETE FROM ` + t.name + ` t USING unnest($1, $2, $3) AS i(id, expected, unit)` +
		` WHERE t.id = i.id AND t.version = i.expected AND ` + isIn + ` RETURNING t.id)`
	if t.desc.Disposable {
		return newStatement(rows+" "+t.missed(schema, 3), texts, ints, ints)
	}
	return newStatement(rows+`, g AS (INSERT INTO `+schema+`.uow_tombstones AS g (collection, id, version, sequence)`+
		` SELECT `+literal(t.desc.Name)+`, i.id, i.version, i.sequence FROM unnest($1, $4, $5) AS i(id, version, sequence)`+
		` JOIN w ON w.id = i.id ORDER BY i.id ON CONFLICT (collection, id) DO UPDATE`+
		` SET version = excluded.version, sequence = excluded.sequence) `+t.missed(schema, 3), texts, ints, ints, ints, ints)
}

// messagesTogether makes the statements that append the messages of several units:
// plainly, and with sequences that go on from what is remembered of deleted rows.
func (s *statements) messagesTogether(schema, into string, many []uint32) {
	many = many[:len(many):len(many)]
	s.appendTogether = newStatement(into+`SELECT `+aliases(10)+` FROM unnest(`+params(1, 11)+`) WITH ORDINALITY AS i(`+aliases(10)+`, unit, n)
		WHERE `+isIn+` ORDER BY i.n`, append(many, pgtype.Int8ArrayOID)...).telling(givenToMany)
	s.appendTogetherShifted = newStatement(into+`SELECT i.c1, i.c2, i.c3, i.c4, i.c5, i.c6, i.c7 + coalesce(g.sequence, 0), i.c8, i.c9, i.c10
		FROM unnest(`+params(1, 13)+`) WITH ORDINALITY AS i(`+aliases(10)+`, unit, collection, id, n)
		LEFT JOIN `+schema+`.uow_tombstones g ON g.collection = i.collection AND g.id = i.id WHERE `+isIn+` ORDER BY i.n`,
		append(many, pgtype.Int8ArrayOID, pgtype.TextArrayOID, pgtype.TextArrayOID)...)
	s.markTogether = newStatement(`INSERT INTO `+schema+`.uow_units (unit) SELECT i.id FROM unnest($1, $2) WITH ORDINALITY AS i(id, unit, n)
		WHERE `+isIn+` ORDER BY i.n`, pgtype.UUIDArrayOID, pgtype.Int8ArrayOID)
	s.startTogether = startTogether()
}

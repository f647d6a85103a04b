package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uow-go/uow/driver"
)

// table is a collection with its statements.
type table struct {
	desc   driver.Collection
	name   string // quoted, with the schema
	place  int    // in the order of Register
	unique bool   // has a unique index
	body   uint32 // the type of bodies

	selectOne, selectMany, selectVersions, selectRows *statement
	insertOne, insertMany                             *statement
	updateOne, updateMany                             *statement
	updateAndAppend                                   *statement // with the unit's marker
	remove                                            *statement
	lock, share                                       *statement
	probe, unprobe, resume                            *statement
	selectLocked                                      *statement
	release                                           []*statement // for each index
	together                                          *together    // nil where units do not commit together
	mapped                                            *mapped      // nil for documents
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// sqlType returns the SQL type of an index' column.
func sqlType(k driver.Kind) string {
	switch k {
	case driver.Int:
		return "bigint"
	case driver.Float:
		return "double precision"
	case driver.Bool:
		return "boolean"
	case driver.Time:
		return "timestamp with time zone"
	case driver.Bytes:
		return "bytea"
	}
	return "text"
}

func (b Bodies) sqlType() string {
	if b == Bytes {
		return "bytea"
	}
	return "json"
}

func (b Bodies) oid() uint32 {
	if b == Bytes {
		return pgtype.ByteaOID
	}
	return pgtype.JSONOID
}

// arrayOID returns the type of arrays of a type.
func arrayOID(oid uint32) uint32 {
	switch oid {
	case pgtype.Int8OID:
		return pgtype.Int8ArrayOID
	case pgtype.Float8OID:
		return pgtype.Float8ArrayOID
	case pgtype.BoolOID:
		return pgtype.BoolArrayOID
	case pgtype.TimestamptzOID:
		return pgtype.TimestamptzArrayOID
	case pgtype.ByteaOID:
		return pgtype.ByteaArrayOID
	case pgtype.JSONOID:
		return pgtype.JSONArrayOID
	}
	return pgtype.TextArrayOID
}

// indexName returns the name of an index of a collection. The dot keeps it apart
// from tables. Names that are too long for the server end with a hash.
func indexName(collection, index string) string {
	name := collection + "." + index
	if len(name) <= 63 {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:50] + "." + hex.EncodeToString(sum[:6])
}

// params returns $first to $last.
func params(first, last int) string {
	list := make([]string, 0, last-first+1)
	for i := first; i <= last; i++ {
		list = append(list, fmt.Sprintf("$%d", i))
	}
	return strings.Join(list, ", ")
}

func aliases(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("c%d", i+1)
	}
	return strings.Join(list, ", ")
}

func newTable(schema string, bodies Bodies, place int, desc driver.Collection) *table {
	t := &table{desc: desc, name: schema + "." + quote(desc.Name), place: place, body: bodies.oid()}
	for _, index := range desc.Indexes {
		t.unique = t.unique || index.Unique
	}
	const columns = `SELECT id, version, sequence, body FROM `
	const texts, ints, text, number = pgtype.TextArrayOID, pgtype.Int8ArrayOID, pgtype.TextOID, pgtype.Int8OID
	t.selectRows = newStatement(columns + t.name)
	t.selectOne = newStatement(columns+t.name+` WHERE id = $1`, text)
	t.selectMany = newStatement(columns+t.name+` WHERE id = ANY($1)`, texts)
	t.selectLocked = newStatement(columns+t.name+` WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, texts)
	for _, index := range desc.Indexes {
		t.release = append(t.release, newStatement(`UPDATE `+t.name+` SET `+quote(index.Name)+` = NULL WHERE id = ANY($1)`, texts))
	}
	t.selectVersions = newStatement(`SELECT id, version FROM `+t.name+` WHERE id = ANY($1)`, texts)
	t.writes(schema)
	t.graves(schema)
	t.together = newTogether(t, schema)
	return t
}

// writes makes the statements that write rows. Those that expect a version end the
// transaction when a row does not have it.
func (t *table) writes(schema string) {
	n := 4 + len(t.desc.Indexes)
	columns, sets, rows := "id, version, sequence, body", "", ""
	one := []uint32{pgtype.TextOID, pgtype.Int8OID, pgtype.Int8OID, t.body}
	for i, index := range t.desc.Indexes {
		columns += ", " + quote(index.Name)
		sets += fmt.Sprintf(", %s = $%d", quote(index.Name), 6+i)
		rows += fmt.Sprintf(", %s = i.c%d", quote(index.Name), 6+i)
		one = append(one, kindOID(index.Kind))
	}
	many := make([]uint32, len(one))
	for i, oid := range one {
		many[i] = arrayOID(oid)
	}
	refuse := schema + ".uow_refuse(" + literal(t.desc.Name) + ", "
	missing := ` SELECT ` + refuse + `array_agg(i.id ORDER BY i.n)) FROM unnest($1) WITH ORDINALITY AS i(id, n)` +
		` WHERE NOT EXISTS (SELECT FROM w WHERE w.id = i.id) HAVING count(*) > 0`

	t.insertOne = newStatement(`INSERT INTO `+t.name+` (`+columns+`) VALUES (`+params(1, n)+`)`, one...)
	t.insertMany = newStatement(`INSERT INTO `+t.name+` (`+columns+`) SELECT * FROM unnest(`+params(1, n)+`)`, many...)
	// $1 id, $2 expected, $3 version, $4 sequence, $5 body, the indexes
	t.updateOne = newStatement(`WITH w AS (UPDATE `+t.name+` SET version = $3, sequence = $4, body = $5`+sets+
		` WHERE id = $1 AND version = $2 RETURNING id) SELECT `+refuse+`ARRAY[$1]) WHERE NOT EXISTS (SELECT FROM w)`,
		withExpected(one)...)
	t.updateAndAppend = t.appending(schema, refuse, sets, withExpected(one))
	t.updateMany = newStatement(`WITH w AS (UPDATE `+t.name+` t SET version = i.c3, sequence = i.c4, body = i.c5`+rows+
		` FROM unnest(`+params(1, n+1)+`) AS i(`+aliases(n+1)+`) WHERE t.id = i.c1 AND t.version = i.c2 RETURNING t.id)`+missing,
		withExpected(many)...)
	t.remove = t.removal(schema, missing)
	t.lock = t.locking(refuse, "FOR NO KEY UPDATE")
	t.share = t.locking(refuse, "FOR SHARE")
}

// appending updates a row, appends a message and marks the unit. The position is given
// after the row is locked: what is in the parentheses comes first.
func (t *table) appending(schema, refuse, sets string, one []uint32) *statement {
	n := len(one)
	return newStatement(fmt.Sprintf(`WITH k AS (INSERT INTO %s.uow_units (unit) VALUES ($%d)), w AS (UPDATE %s SET version = $3, sequence = $4, body = $5%s`+
		` WHERE id = $1 AND version = $2 RETURNING id) INSERT INTO %s.uow_outbox (%s) SELECT %s FROM`+
		` (SELECT CASE WHEN EXISTS (SELECT FROM w) THEN '' ELSE %sARRAY[$1])::text END AS done OFFSET 0) AS u WHERE u.done IS NOT NULL`,
		schema, n+11, t.name, sets, schema, messageColumns, params(n+1, n+10), refuse),
		append(append(one[:n:n], messageTypes()...), pgtype.UUIDOID)...).telling(givenToOne)
}

// withExpected puts the expected version behind the id.
func withExpected(oids []uint32) []uint32 {
	return append([]uint32{oids[0], oids[1]}, oids[1:]...)
}

// removal deletes rows, and remembers them unless the collection is disposable.
func (t *table) removal(schema, missing string) *statement {
	const texts, ints = pgtype.TextArrayOID, pgtype.Int8ArrayOID
	rows := `WITH w AS (DELETE FROM ` + t.name + ` t USING unnest($1, $2) AS i(id, expected)` +
		` WHERE t.id = i.id AND t.version = i.expected RETURNING t.id)`
	if t.desc.Disposable {
		return newStatement(rows+missing, texts, ints)
	}
	return newStatement(rows+`, g AS (INSERT INTO `+schema+`.uow_tombstones AS g (collection, id, version, sequence)`+
		` SELECT `+literal(t.desc.Name)+`, i.id, i.version, i.sequence FROM unnest($1, $3, $4) AS i(id, version, sequence)`+
		` JOIN w ON w.id = i.id ORDER BY i.id ON CONFLICT (collection, id) DO UPDATE`+
		` SET version = excluded.version, sequence = excluded.sequence)`+missing, texts, ints, ints, ints)
}

// locking locks rows in the order of their ids and demands that each has its
// version; 0 demands that there is none.
func (t *table) locking(refuse, mode string) *statement {
	return newStatement(`WITH l AS MATERIALIZED (SELECT id, version FROM `+t.name+` WHERE id = ANY($1) ORDER BY id `+mode+`)`+
		` SELECT `+refuse+`array_agg(i.id ORDER BY i.n)) FROM unnest($1, $2) WITH ORDINALITY AS i(id, version, n)`+
		` LEFT JOIN l ON l.id = i.id WHERE coalesce(l.version, 0) <> i.version HAVING count(*) > 0`,
		pgtype.TextArrayOID, pgtype.Int8ArrayOID)
}

// graves makes the statements by which inserted rows go on from what is remembered
// of deleted ones.
func (t *table) graves(schema string) {
	if t.desc.Disposable {
		return
	}
	name := literal(t.desc.Name)
	// A statement of its own, after the insert: the insert may have waited for the
	// delete of the same row, and does not see what that has left.
	t.resume = newStatement(`UPDATE `+t.name+` t SET version = t.version + g.version, sequence = t.sequence + g.sequence`+
		` FROM `+schema+`.uow_tombstones g WHERE g.collection = `+name+` AND g.id = t.id AND t.id = ANY($1)`+
		` RETURNING t.id, g.version, g.sequence`, pgtype.TextArrayOID)
	t.probes(schema)
}

// probes makes the statements by which a transaction that has a snapshot finds newer
// memories of deleted rows: resume sees only those from before it, and an insert of
// the memory's own key fails on newer ones, with a serialization failure.
func (t *table) probes(schema string) {
	name := literal(t.desc.Name)
	t.probe = newStatement(`INSERT INTO `+schema+`.uow_tombstones (collection, id, version, sequence)`+
		` SELECT `+name+`, id, 0, 0 FROM unnest($1) AS id ON CONFLICT (collection, id) DO NOTHING`, pgtype.TextArrayOID)
	t.unprobe = newStatement(`DELETE FROM `+schema+`.uow_tombstones WHERE collection = `+name+
		` AND id = ANY($1) AND version = 0 AND sequence = 0`, pgtype.TextArrayOID)
}

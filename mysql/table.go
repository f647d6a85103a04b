package mysql

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/uow-go/uow/driver"
)

// table is a collection with its names in SQL.
type table struct {
	desc     driver.Collection
	place    int    // in the order of Register
	name     string // quoted, with the database
	key      string // the columns, quoted
	version  string
	columns  []string // of the indexes
	text     bool     // bodies are text
	remember bool     // the versions of deleted rows
}

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// indexName returns the name of an index of a collection, which the server's errors
// tell. The dot keeps it apart from tables. Names that are too long for the server
// end with a hash.
func indexName(collection, index string) string {
	name := collection + "." + index
	if len(name) <= 64 {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:50] + "." + hex.EncodeToString(sum[:6])
}

func (s *Store) newTable(place int, desc driver.Collection) *table {
	t := &table{
		desc: desc, place: place, name: s.schema + quote(desc.Name), key: "`id`", version: "`version`",
		text: s.options.Bodies == JSON, remember: !desc.Disposable,
	}
	for _, index := range desc.Indexes {
		t.columns = append(t.columns, quote(index.Name))
	}
	return t
}

// columnType returns the type of an index' column.
func (s *Store) columnType(k driver.Kind) string {
	switch k {
	case driver.Int:
		return "BIGINT"
	case driver.Float:
		return "DOUBLE"
	case driver.Bool:
		return "TINYINT(1)"
	case driver.Time:
		return "DATETIME(6)"
	}
	return "VARCHAR(768) CHARACTER SET utf8mb4 COLLATE " + s.collation
}

func (b Bodies) columnType(collation string) string {
	if b == Bytes {
		return "LONGBLOB"
	}
	return "LONGTEXT CHARACTER SET utf8mb4 COLLATE " + collation
}

// forUpdate and forShare lock the rows that a query reads, and make it read the
// newest ones.
const (
	forUpdate = " FOR UPDATE"
	forShare  = " LOCK IN SHARE MODE"
)

// selectRows begins the statement that reads rows.
func (t *table) selectRows(s *script) *script {
	return s.add("SELECT id, version, sequence, body FROM ", t.name)
}

// bunch is the greatest number of ids in one condition, up to which the server
// surely reads the rows by their key.
const bunch = 500

// whereIDs appends a condition on the key. The server is told to use it, since a
// statement that scans a table waits for locks of rows that it does not want.
func (t *table) whereIDs(s *script, ids []string) *script {
	s.add(" FORCE INDEX (PRIMARY) WHERE ", t.key)
	if len(ids) == 1 {
		return s.add(" = ").id(ids[0])
	}
	return s.add(" IN ").ids(len(ids), func(i int) string { return ids[i] })
}

// whereVersions appends a condition that rows have their expected versions.
func (t *table) whereVersions(s *script, rows []*driver.Write) *script {
	s.add(" WHERE ")
	for i, w := range rows {
		if i > 0 {
			s.add(" OR ")
		}
		s.add("(", t.key, " = ").id(w.ID).add(" AND ", t.version, " = ").int(w.Expected).add(")")
	}
	return s
}

// in calls fn with parts of a list that are short enough for one condition.
func in[T any](list []T, fn func(part []T)) {
	for len(list) > 0 {
		n := min(len(list), bunch)
		fn(list[:n])
		list = list[n:]
	}
}

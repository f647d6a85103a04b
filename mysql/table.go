package mysql

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/uow-go/uow/driver"
)

// table is a collection with its names in SQL.
type table struct {
	desc     driver.Collection
	place    int    // in the order of Register
	name     string // quoted, with the database
	key      string // the columns, quoted
	version  string
	sequence string   // "" where uow_tombstones has it
	columns  []string // of the indexes
	// offset is what the version column has more than the version.
	offset    int64
	indexName string     // of the key
	uniques   [][]string // the names of the unique indexes that each column is in
	text      bool       // bodies are text
	numeric   bool       // the key is an integer
	remember  bool       // the versions of deleted rows
	selected  string     // the columns of a row
	collation string     // by which ids of a table of the user's are ordered
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
		desc: desc, place: place, name: s.schema + quote(desc.Name), key: "`id`", version: "`version`", sequence: "`sequence`",
		indexName: "PRIMARY", uniques: make([][]string, len(desc.Indexes)), text: s.options.Bodies == JSON, remember: !desc.Disposable,
	}
	for i, index := range desc.Indexes {
		t.columns = append(t.columns, quote(index.Name))
		t.uniques[i] = []string{indexName(desc.Name, index.Name)}
	}
	t.selected = "`id`, `version`, `sequence`, `body`"
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
	return s.add("SELECT ", t.selected, " FROM ", t.name)
}

// bunch is the greatest number of ids in one condition, up to which the server
// surely reads the rows by their key.
const bunch = 500

// keyed tells the server to use the key, since a statement that scans a table waits
// for locks of rows that it does not want.
func (t *table) keyed() string { return " FORCE INDEX (" + quote(t.indexName) + ")" }

// id appends an id, as its column has it. What can't be an integer is no row's id.
func (t *table) id(s *script, id string) *script {
	if !t.numeric {
		if t.desc.Table != nil {
			return s.text(id, unlimited)
		}
		return s.id(id)
	}
	if !canonical(id) {
		return s.add("NULL")
	}
	return s.add(id)
}

// whereIDs appends a condition on the key.
func (t *table) whereIDs(s *script, ids []string) *script {
	s.add(t.keyed(), " WHERE ", t.key)
	if len(ids) == 1 {
		return t.id(s.add(" = "), ids[0])
	}
	return s.add(" IN (").list(len(ids), func(i int) { t.id(s, ids[i]) }).add(")")
}

// whereVersions appends a condition that rows have their expected versions.
func (t *table) whereVersions(s *script, rows []*driver.Write) *script {
	s.add(" WHERE ")
	for i, w := range rows {
		if i > 0 {
			s.add(" OR ")
		}
		t.id(s.add("(", t.key, " = "), w.ID).add(" AND ", t.version, " = ").int(w.Expected + t.offset).add(")")
	}
	return s
}

// value appends a value of an index.
func (t *table) value(s *script, place int, v driver.Value) *script {
	switch x := v.(type) {
	case string:
		if t.desc.Table != nil { // which has its own limits
			return s.text(x, unlimited)
		}
	case []byte:
		if t.desc.Indexes[place].Kind != driver.JSON {
			return s.bytes(x)
		}
		if !utf8.Valid(x) {
			s.fail(fmt.Errorf("%w: the JSON of column %s is not UTF-8", ErrText, t.desc.Indexes[place].Name))
		}
		return s.quoted(string(x))
	}
	return s.value(v)
}

// in calls fn with parts of a list that are short enough for one condition.
func in[T any](list []T, fn func(part []T)) {
	for len(list) > 0 {
		n := min(len(list), bunch)
		fn(list[:n])
		list = list[n:]
	}
}

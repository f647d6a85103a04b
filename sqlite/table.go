package sqlite

import (
	"fmt"
	"math"
	"strings"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

// table is a collection with its statements.
type table struct {
	desc driver.Collection
	name string // quoted
	key  string // the column of ids, quoted
	// offset is what the version column has more than the version.
	offset int64
	// sequenced says that the sequence is a column of the table.
	sequenced bool
	// textTimes has the places of columns that keep times as text, in a table of
	// the user's.
	textTimes map[int]bool

	selectOne     string // by id: version, sequence, body or columns
	selectRows    string // id and those; needs a WHERE
	selectVersion string
	insert        string
	update        string
	delete        string
	release       []string // for each index
}

// maxList is the greatest number of values in one IN. SQLite allows 32766
// parameters in a statement.
const maxList = 16384

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func newTable(desc driver.Collection) *table {
	t := &table{desc: desc, name: quote(desc.Name), key: "id", sequenced: true}
	version, sequence, id, body := "version", "sequence", "id", ", body"
	if m := desc.Table; m != nil {
		t.name, t.key, t.offset = quoteQualified(m.Name), quote(m.Key), m.FirstVersion-1
		version, sequence, id, body = quote(m.Version), quote(m.Sequence), "CAST("+quote(m.Key)+" AS TEXT)", ""
		t.sequenced = m.Sequence != ""
	}
	head, sets := []string{t.key, version}, []string{version + " = ?"}
	if t.sequenced {
		head, sets = append(head, sequence), append(sets, sequence+" = ?")
	} else {
		sequence = "coalesce((SELECT g.sequence FROM uow_tombstones g WHERE g.collection = " + literal(desc.Name) + " AND g.id = " + id + "), 0)"
	}
	if body != "" {
		head, sets = append(head, "body"), append(sets, "body = ?")
	}
	for _, index := range desc.Indexes {
		column := quote(index.Name)
		head, sets = append(head, column), append(sets, column+" = ?")
		t.release = append(t.release, `UPDATE `+t.name+` SET `+column+` = NULL WHERE `+t.key+` = ?`)
		if body == "" {
			sequence += ", " + column
		}
	}
	found := fmt.Sprintf("%s - (%d)", version, t.offset)
	if t.offset == 0 {
		found = version
	}
	t.selectOne = `SELECT ` + found + `, ` + sequence + body + ` FROM ` + t.name + ` WHERE ` + t.key + ` = ?`
	t.selectRows = `SELECT ` + id + `, ` + found + `, ` + sequence + body + ` FROM ` + t.name + ` WHERE `
	t.selectVersion = `SELECT ` + found + ` FROM ` + t.name + ` WHERE ` + t.key + ` = ?`
	t.insert = `INSERT INTO ` + t.name + ` (` + strings.Join(head, ", ") + `) VALUES (` + marks(len(head)) + `)`
	t.update = `UPDATE ` + t.name + ` SET ` + strings.Join(sets, ", ") + ` WHERE ` + t.key + ` = ? AND ` + version + ` = ?`
	t.delete = `DELETE FROM ` + t.name + ` WHERE ` + t.key + ` = ? AND ` + version + ` = ?`
	return t
}

// columnType returns the SQL type of an index' column.
func columnType(k driver.Kind) string {
	switch k {
	case driver.String:
		return "TEXT"
	case driver.Float:
		return "REAL"
	default:
		return "INTEGER"
	}
}

func kindName(k driver.Kind) string {
	switch k {
	case driver.String:
		return "string"
	case driver.Int:
		return "int"
	case driver.Float:
		return "float"
	case driver.Bool:
		return "bool"
	case driver.Time:
		return "time"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// encode turns an index value into what its column holds.
func encode(v driver.Value) sqldriver.Value {
	switch x := v.(type) {
	case bool:
		if x {
			return int64(1)
		}
		return int64(0)
	case time.Time:
		return micros(x)
	}
	return v
}

// micros is how times are kept. Those that are out of its range, such as the
// zero time of other calendars, are moved to its ends.
func micros(t time.Time) int64 {
	switch s := t.Unix(); {
	case s > math.MaxInt64/1_000_000-1:
		return math.MaxInt64
	case s < math.MinInt64/1_000_000+1:
		return math.MinInt64
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// marks returns n parameters, for an IN.
func marks(n int) string {
	if n == 0 {
		return ""
	}
	return strings.Repeat("?, ", n-1) + "?"
}

// listSize rounds a list's length up to a power of two, so that lists of all
// lengths share a few prepared statements. The rest is filled with a value that
// the list has already.
func listSize(n int) int {
	size := 1
	for size < n {
		size *= 2
	}
	return size
}

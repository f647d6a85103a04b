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

	selectOne     string // by id: version, sequence, body
	selectRows    string // id, version, sequence, body; needs a WHERE
	selectVersion string
	insert        string
	update        string
	delete        string
}

// maxList is the greatest number of values in one IN. SQLite allows 32766
// parameters in a statement.
const maxList = 16384

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func newTable(desc driver.Collection) *table {
	name := quote(desc.Name)
	var columns, marks, sets strings.Builder
	for _, index := range desc.Indexes {
		column := quote(index.Name)
		columns.WriteString(", " + column)
		marks.WriteString(", ?")
		sets.WriteString(", " + column + " = ?")
	}
	return &table{
		desc:          desc,
		name:          name,
		selectOne:     `SELECT version, sequence, body FROM ` + name + ` WHERE id = ?`,
		selectRows:    `SELECT id, version, sequence, body FROM ` + name + ` WHERE `,
		selectVersion: `SELECT version FROM ` + name + ` WHERE id = ?`,
		insert:        `INSERT INTO ` + name + ` (id, version, sequence, body` + columns.String() + `) VALUES (?, ?, ?, ?` + marks.String() + `)`,
		update:        `UPDATE ` + name + ` SET version = ?, sequence = ?, body = ?` + sets.String() + ` WHERE id = ? AND version = ?`,
		delete:        `DELETE FROM ` + name + ` WHERE id = ? AND version = ?`,
	}
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

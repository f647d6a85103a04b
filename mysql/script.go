package mysql

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

// script is statements that go to the server at once, as text: the protocol has no
// other way to send several in one round trip. The server runs them one after the
// other, and none after one that failed.
//
// Constants of this package are written by add; everything else is written by the
// methods below it, as a literal that can't be taken for anything else, whatever
// the session's sql_mode is: strings are quoted only when they have no backslash,
// with quotes doubled, and are hexadecimal otherwise.
//
// The first error is kept, so that nothing is sent when there is one.
type script struct {
	b     []byte
	steps []step
	err   error
	// demand is where the last statement begins, if it is demandRows, and what it
	// demands.
	demand struct {
		start, rows int
		last        bool
	}
}

// step is one statement.
type step struct {
	end     int  // where its text ends
	returns bool // rows
	row     func(row []sqldriver.Value) error
}

func newScript() *script { return &script{b: make([]byte, 0, 1024)} }

func (s *script) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// add appends SQL that is a constant.
func (s *script) add(parts ...string) *script {
	for _, p := range parts {
		s.b = append(s.b, p...)
	}
	return s
}

// end ends a statement that returns no rows.
func (s *script) end() *script {
	s.steps = append(s.steps, step{end: len(s.b)})
	s.b = append(s.b, ';')
	s.demand.last = false
	return s
}

// do appends a whole statement that returns no rows.
func (s *script) do(sql string) *script { return s.add(sql).end() }

// query ends a statement that returns rows. row, if not nil, gets each of them; byte
// slices in it are valid during the call.
func (s *script) query(row func(row []sqldriver.Value) error) *script {
	s.end()
	last := &s.steps[len(s.steps)-1]
	last.returns, last.row = true, row
	return s
}

// most is the greatest BIGINT. What is added to it, unless it is zero, is an error
// that ends the script: that is how a condition is checked on the server.
const most = "9223372036854775807 + "

// demandRows ends the script unless the statement before has written n rows. The
// connection is told to count rows that were found, changed or not.
func (s *script) demandRows(n int) *script {
	start := len(s.b)
	s.add("SET @uow = ", most, "(ROW_COUNT() <> ").int(int64(n)).do(")")
	s.demand.start, s.demand.rows, s.demand.last = start, n, true
	return s
}

// takeDemand removes a demand that is the last statement, for the next one to make
// it, and returns what it demands: one statement less for most units.
func (s *script) takeDemand() (rows int, ok bool) {
	if !s.demand.last {
		return 0, false
	}
	s.demand.last = false
	s.b, s.steps = s.b[:s.demand.start], s.steps[:len(s.steps)-1]
	return s.demand.rows, true
}

func (s *script) int(n int64) *script {
	s.b = strconv.AppendInt(s.b, n, 10)
	return s
}

// text appends a string of at most limit characters.
func (s *script) text(v string, limit int) *script {
	switch {
	case !utf8.ValidString(v):
		s.fail(fmt.Errorf("%w: %.40q is not UTF-8", ErrText, v))
	case len(v) > limit && utf8.RuneCountInString(v) > limit:
		s.fail(fmt.Errorf("%w: %.40q has %d characters, and the column %d", ErrText, v, utf8.RuneCountInString(v), limit))
	}
	return s.quoted(v)
}

// The columns' limits, in characters.
const (
	maxID     = 255
	maxString = 768 // of an index, which has at most 3072 bytes
	maxKey    = 512
	unlimited = math.MaxInt
)

func (s *script) id(v string) *script { return s.text(v, maxID) }

// quoted appends a string, which is UTF-8, or bytes.
func (s *script) quoted(v string) *script {
	if strings.IndexByte(v, '\\') >= 0 || strings.IndexByte(v, 0) >= 0 {
		return s.add("_utf8mb4 ").hex([]byte(v))
	}
	s.b = append(s.b, '\'')
	for {
		i := strings.IndexByte(v, '\'')
		if i < 0 {
			break
		}
		s.b = append(append(s.b, v[:i]...), '\'', '\'')
		v = v[i+1:]
	}
	s.b = append(append(s.b, v...), '\'')
	return s
}

func (s *script) hex(p []byte) *script {
	s.b = append(s.b, 'x', '\'')
	s.b = hex.AppendEncode(s.b, p)
	s.b = append(s.b, '\'')
	return s
}

// bytes appends a value for a BLOB; nil is NULL.
func (s *script) bytes(p []byte) *script {
	switch {
	case p == nil:
		return s.add("NULL")
	case utf8.Valid(p) && !hasByte(p, '\\') && !hasByte(p, 0):
		return s.quoted(string(p))
	}
	return s.hex(p)
}

func hasByte(p []byte, b byte) bool {
	for _, x := range p {
		if x == b {
			return true
		}
	}
	return false
}

// time appends a DATETIME(6), in UTC.
func (s *script) time(t time.Time) *script {
	t = t.UTC()
	if year := t.Year(); year < 1 || year > 9999 {
		s.fail(fmt.Errorf("%w: the year %d", ErrValue, year))
	}
	s.b = t.AppendFormat(s.b, "'"+timeFormat+"'")
	return s
}

const timeFormat = "2006-01-02 15:04:05.000000"

// maybeTime keeps the zero time as NULL.
func (s *script) maybeTime(t time.Time) *script {
	if t.IsZero() {
		return s.add("NULL")
	}
	return s.time(t)
}

func (s *script) bool(b bool) *script {
	if b {
		return s.add("TRUE")
	}
	return s.add("FALSE")
}

// value appends a value of an index.
func (s *script) value(v driver.Value) *script {
	switch x := v.(type) {
	case nil:
		return s.add("NULL")
	case string:
		return s.text(x, maxString)
	case int64:
		return s.int(x)
	case float64:
		if math.IsInf(x, 0) || math.IsNaN(x) {
			s.fail(fmt.Errorf("%w: %v", ErrValue, x))
		}
		s.b = strconv.AppendFloat(s.b, x, 'e', -1, 64)
		return s
	case bool:
		return s.bool(x)
	case time.Time:
		return s.time(x)
	}
	s.fail(fmt.Errorf("%w: %T is no value of an index", ErrValue, v))
	return s
}

// list appends n elements with commas between them.
func (s *script) list(n int, element func(i int)) *script {
	for i := range n {
		if i > 0 {
			s.add(", ")
		}
		element(i)
	}
	return s
}

// ids appends a list of ids in parentheses.
func (s *script) ids(n int, at func(i int) string) *script {
	return s.add("(").list(n, func(i int) { s.id(at(i)) }).add(")")
}

// positions appends a list of numbers in parentheses.
func (s *script) positions(list []int64) *script {
	return s.add("(").list(len(list), func(i int) { s.int(list[i]) }).add(")")
}

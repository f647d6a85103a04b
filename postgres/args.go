package postgres

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uow-go/uow/driver"
)

// args are the parameters of one statement, in the protocol's binary format. The
// first error is kept, so that nothing is sent when there is one.
type args struct {
	buf    []byte
	values [][]byte
	err    error
}

func newArgs(n int) *args {
	return &args{buf: make([]byte, 0, argsSize(n)), values: make([][]byte, 0, n)}
}

// argsSize is how many bytes n parameters are expected to take.
func argsSize(n int) int { return 48*n + 16 }

// add appends the parameter that encode appends to the buffer.
func (a *args) add(encode func(b []byte) []byte) *args {
	start := len(a.buf)
	a.buf = encode(a.buf)
	a.values = append(a.values, a.buf[start:len(a.buf):len(a.buf)])
	return a
}

func (a *args) null() *args {
	a.values = append(a.values, nil)
	return a
}

func (a *args) text(s string) *args {
	a.check(s)
	return a.add(func(b []byte) []byte { return append(b, s...) })
}

func (a *args) int(n int64) *args {
	return a.add(func(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) })
}

func (a *args) bool(v bool) *args {
	return a.add(func(b []byte) []byte {
		if v {
			return append(b, 1)
		}
		return append(b, 0)
	})
}

func (a *args) time(t time.Time) *args {
	return a.add(func(b []byte) []byte { return appendTime(b, t) })
}

// bytes appends bytes or JSON, which are sent alike; nil is NULL.
func (a *args) bytes(p []byte) *args {
	if p == nil {
		return a.null()
	}
	a.values = append(a.values, p)
	return a
}

func (a *args) value(v driver.Value) *args {
	if v == nil {
		return a.null()
	}
	return a.add(func(b []byte) []byte { return a.appendValue(b, v) })
}

// array appends an array of n elements. element appends the i-th, or reports that
// it is NULL.
func (a *args) array(oid uint32, n int, element func(b []byte, i int) (_ []byte, ok bool)) *args {
	return a.add(func(b []byte) []byte {
		if n == 0 {
			b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
			return binary.BigEndian.AppendUint32(b, oid)
		}
		b = append(b, 0, 0, 0, 1, 0, 0, 0, 1) // one dimension, may have NULLs
		b = binary.BigEndian.AppendUint32(b, oid)
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = append(b, 0, 0, 0, 1) // counted from 1
		for i := range n {
			size := len(b)
			b = append(b, 0xff, 0xff, 0xff, 0xff) // NULL, unless there is a value
			value, ok := element(b, i)
			b = value
			if ok {
				binary.BigEndian.PutUint32(b[size:], uint32(len(b)-size-4))
			}
		}
		return b
	})
}

func (a *args) texts(n int, at func(i int) string) *args {
	return a.array(pgtype.TextOID, n, func(b []byte, i int) ([]byte, bool) {
		s := at(i)
		a.check(s)
		return append(b, s...), true
	})
}

func (a *args) ints(n int, at func(i int) int64) *args {
	return a.array(pgtype.Int8OID, n, func(b []byte, i int) ([]byte, bool) {
		return binary.BigEndian.AppendUint64(b, uint64(at(i))), true
	})
}

func (a *args) blobs(oid uint32, n int, at func(i int) []byte) *args {
	size := 4*n + 32
	for i := range n {
		size += len(at(i))
	}
	a.buf = slices.Grow(a.buf, size)
	return a.array(oid, n, func(b []byte, i int) ([]byte, bool) {
		p := at(i)
		return append(b, p...), p != nil
	})
}

// times keeps zero times as NULL.
func (a *args) times(n int, at func(i int) time.Time) *args {
	return a.array(pgtype.TimestamptzOID, n, func(b []byte, i int) ([]byte, bool) {
		t := at(i)
		if t.IsZero() {
			return b, false
		}
		return appendTime(b, t), true
	})
}

// indexValues appends an array of the values of an index.
func (a *args) indexValues(kind driver.Kind, n int, at func(i int) driver.Value) *args {
	return a.array(kindOID(kind), n, func(b []byte, i int) ([]byte, bool) {
		v := at(i)
		if v == nil {
			return b, false
		}
		return a.appendValue(b, v), true
	})
}

func (a *args) appendValue(b []byte, v driver.Value) []byte {
	switch x := v.(type) {
	case string:
		a.check(x)
		return append(b, x...)
	case int64:
		return binary.BigEndian.AppendUint64(b, uint64(x))
	case float64:
		return binary.BigEndian.AppendUint64(b, math.Float64bits(x))
	case bool:
		if x {
			return append(b, 1)
		}
		return append(b, 0)
	case time.Time:
		return appendTime(b, x)
	case []byte:
		return append(b, x...)
	}
	if a.err == nil {
		a.err = fmt.Errorf("postgres: %T is no value of an index", v)
	}
	return b
}

// refuses reports whether the type text can't hold a string.
func (a *args) refuses(s string) bool {
	a.check(s)
	return a.err != nil
}

// check refuses what the type text can't hold.
func (a *args) check(s string) {
	switch {
	case a.err != nil:
	case strings.IndexByte(s, 0) >= 0:
		a.err = fmt.Errorf("%w: %.40q has a NUL byte", ErrText, s)
	case !utf8.ValidString(s):
		a.err = fmt.Errorf("%w: %.40q is not UTF-8", ErrText, s)
	}
}

// The times that timestamptz can hold, as it counts them: microseconds since 2000.
const (
	epoch2000 = 946684800 * 1_000_000
	firstTime = -211813488000000000
	lastTime  = 9223371331200000000 - 1
)

// appendTime moves times that are out of range to its ends.
func appendTime(b []byte, t time.Time) []byte {
	n := int64(lastTime)
	switch s := t.Unix(); {
	case s < (firstTime+epoch2000)/1_000_000:
		n = firstTime
	case s < (math.MaxInt64-1_000_000)/1_000_000:
		n = t.UnixMicro() - epoch2000
	}
	return binary.BigEndian.AppendUint64(b, uint64(n))
}

func kindOID(k driver.Kind) uint32 {
	switch k {
	case driver.Int:
		return pgtype.Int8OID
	case driver.Float:
		return pgtype.Float8OID
	case driver.Bool:
		return pgtype.BoolOID
	case driver.Time:
		return pgtype.TimestamptzOID
	case driver.Bytes:
		return pgtype.ByteaOID
	}
	return pgtype.TextOID
}

// The following read a column in the binary format; NULL is the zero value.

func number(v []byte) int64 {
	if len(v) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(v))
}

func timeOf(v []byte) time.Time {
	if len(v) != 8 {
		return time.Time{}
	}
	n := number(v)
	if n > math.MaxInt64-epoch2000 { // also infinity
		n = math.MaxInt64 - epoch2000
	}
	return time.UnixMicro(n + epoch2000).UTC()
}

func truth(v []byte) bool { return len(v) == 1 && v[0] == 1 }

// blob copies, since the driver uses its buffer again.
func blob(v []byte) []byte {
	if v == nil {
		return nil
	}
	return append([]byte{}, v...)
}

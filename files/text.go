package files

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/uow-go/uow/driver"
)

// text is a string as the files have it: a JSON string where it is UTF-8, else
// {"base64": …}, so that it comes back as it was.
type text string

type encoded struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (t text) MarshalJSON() ([]byte, error) { return appendText(nil, string(t)), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(t))
	}
	var e encoded
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	*t = text(e.Base64)
	return nil
}

func appendText(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		dst = append(dst, `{"base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, []byte(s))
		return append(dst, `"}`...)
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(dst, s)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

func appendEscaped(dst []byte, s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	return append(dst, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// appendBlob adds a member with bytes: as they are under the name where they are
// JSON of one line, else as a text under the name with "Text" behind. nil is no
// member.
func appendBlob(dst []byte, name string, b []byte) []byte {
	switch {
	case b == nil:
		return dst
	case isLine(b):
		dst = append(append(append(dst, `,"`...), name...), `":`...)
		return append(dst, b...)
	}
	dst = append(append(append(dst, `,"`...), name...), `Text":`...)
	return appendText(dst, string(b))
}

// isLine reports whether bytes are JSON that can stand in a line and comes back as
// it was.
func isLine(b []byte) bool {
	return len(b) > 0 && b[0] > ' ' && b[len(b)-1] > ' ' && bytes.IndexByte(b, '\n') < 0 && json.Valid(b)
}

// blob returns the bytes that appendBlob was given.
func blob(raw json.RawMessage, escaped *text) []byte {
	if escaped != nil {
		return []byte(*escaped)
	}
	return raw
}

// instant is a time as the files have it: RFC 3339 in UTC, or {"micros": …} since
// 1970 where it has no such form.
type instant struct{ time.Time }

type outOfRange struct {
	Micros int64 `json:"micros"`
}

// MarshalJSON implements json.Marshaler.
func (t instant) MarshalJSON() ([]byte, error) { return appendTime(nil, t.Time), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (t *instant) UnmarshalJSON(data []byte) (err error) {
	t.Time, err = parseTime(data)
	return err
}

func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	if year := t.Year(); year < 0 || year > 9999 {
		return append(strconv.AppendInt(append(dst, `{"micros":`...), t.UnixMicro(), 10), '}')
	}
	dst = t.AppendFormat(append(dst, '"'), time.RFC3339Nano)
	return append(dst, '"')
}

func parseTime(data []byte) (time.Time, error) {
	if len(data) > 0 && data[0] == '{' {
		var far outOfRange
		err := json.Unmarshal(data, &far)
		return time.UnixMicro(far.Micros).UTC(), err
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, s)
}

// headers are a message's headers: an object where all are UTF-8, else an array of
// pairs.
type headers map[string]string

// MarshalJSON implements json.Marshaler.
func (h headers) MarshalJSON() ([]byte, error) {
	open, between, end := `{`, `:`, `}`
	for k, v := range h {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			open, between, end = `[`, `,`, `]`
		}
	}
	var out []byte
	for i, k := range slices.Sorted(maps.Keys(h)) {
		if i > 0 {
			out = append(out, ',')
		}
		if open == `[` {
			out = append(out, '[')
		}
		out = append(appendText(out, k), between...)
		out = appendText(out, h[k])
		if open == `[` {
			out = append(out, ']')
		}
	}
	return append(append([]byte(open), out...), end...), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *headers) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] != '[' {
		return json.Unmarshal(data, (*map[string]string)(h))
	}
	var pairs [][2]text
	if err := json.Unmarshal(data, &pairs); err != nil {
		return err
	}
	*h = make(headers, len(pairs))
	for _, p := range pairs {
		(*h)[string(p[0])] = string(p[1])
	}
	return nil
}

// appendIndexes adds the values of a row's indexes as an object.
func appendIndexes(dst []byte, indexes []driver.Index, values []driver.Value) ([]byte, error) {
	dst = append(dst, '{')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, indexes[i].Name), ':')
		var err error
		if dst, err = appendValue(dst, v); err != nil {
			return nil, fmt.Errorf("index %s: %w", indexes[i].Name, err)
		}
	}
	return append(dst, '}'), nil
}

func appendValue(dst []byte, v driver.Value) ([]byte, error) {
	switch x := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case string:
		return appendText(dst, x), nil
	case []byte:
		return appendText(dst, string(x)), nil
	case int64:
		return strconv.AppendInt(dst, x, 10), nil
	case float64:
		if math.IsInf(x, 0) {
			return append(strconv.AppendFloat(append(dst, '"'), x, 'g', -1, 64), '"'), nil
		}
		return strconv.AppendFloat(dst, x, 'g', -1, 64), nil
	case bool:
		return strconv.AppendBool(dst, x), nil
	case time.Time:
		return appendTime(dst, x), nil
	}
	return nil, fmt.Errorf("%T is no value of an index", v)
}

// parseValue returns a value of the kind.
func parseValue(kind driver.Kind, data json.RawMessage) (driver.Value, error) {
	if string(data) == "null" {
		return nil, nil
	}
	switch kind {
	case driver.String, driver.Decimal:
		var s text
		err := json.Unmarshal(data, &s)
		return string(s), err
	case driver.Bytes, driver.JSON:
		var s text
		err := json.Unmarshal(data, &s)
		return []byte(s), err
	case driver.Int:
		return strconv.ParseInt(string(data), 10, 64)
	case driver.Float:
		return strconv.ParseFloat(string(bytes.Trim(data, `"`)), 64)
	case driver.Bool:
		return strconv.ParseBool(string(data))
	case driver.Time:
		return parseTime(data)
	}
	return nil, fmt.Errorf("no value has kind %d", kind)
}

package uow

import (
	"bytes"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/uow-go/uow/driver"
)

// kindOf returns the kind that values of a field's type have by default; 0 where
// that is not known.
func kindOf(t reflect.Type) Kind {
	switch t {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[sql.NullTime]():
		return Time
	case reflect.TypeFor[json.RawMessage]():
		return JSON
	case reflect.TypeFor[sql.NullString]():
		return String
	case reflect.TypeFor[sql.NullInt64](), reflect.TypeFor[sql.NullInt32](), reflect.TypeFor[sql.NullInt16]():
		return Int
	case reflect.TypeFor[sql.NullFloat64]():
		return Float
	case reflect.TypeFor[sql.NullBool]():
		return Bool
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[sql.Scanner]()) {
		if v, ok := valueField(t); ok { // sql.Null
			return kindOf(v)
		}
		return 0
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.String:
		return String
	case reflect.Bool:
		return Bool
	case reflect.Float32, reflect.Float64:
		return Float
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return Bytes
		}
		return JSON
	case reflect.Struct, reflect.Map:
		return JSON
	}
	if t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 {
		return Int
	}
	return 0
}

func valueField(t reflect.Type) (reflect.Type, bool) {
	if t.Kind() != reflect.Struct {
		return nil, false
	}
	f, ok := t.FieldByName("V")
	return f.Type, ok
}

// fieldValue returns what a column of the kind gets of the field that field points
// to.
func fieldValue(field any, kind Kind) (driver.Value, error) {
	switch f := field.(type) { // without reflection where possible
	case *string:
		if kind == String || kind == Decimal {
			return *f, nil
		}
	case *int64:
		if kind == Int {
			return *f, nil
		}
	case *time.Time:
		if kind == Time {
			return f.UTC().Truncate(time.Microsecond), nil
		}
	}
	if r := reflect.ValueOf(field).Elem(); r.Kind() == reflect.Pointer {
		if r.IsNil() {
			return nil, nil
		}
		return fieldValue(r.Interface(), kind)
	}
	if valuer, ok := field.(sqldriver.Valuer); ok {
		v, err := valuer.Value()
		if err != nil || v == nil {
			return nil, err
		}
		return columnValue(v, kind)
	}
	if kind == JSON {
		return jsonValue(field)
	}
	if text, ok := field.(encoding.TextMarshaler); ok && (kind == String || kind == Decimal) {
		b, err := text.MarshalText()
		return string(b), err
	}
	return columnValue(reflect.ValueOf(field).Elem().Interface(), kind)
}

// columnValue turns a Go value into the value that stores know for the kind.
func columnValue(v any, kind Kind) (driver.Value, error) {
	r := reflect.ValueOf(v)
	isBytes := r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Uint8
	switch kind {
	case Bytes, JSON:
		switch {
		case isBytes && r.IsNil():
			return nil, nil
		case isBytes:
			return bytes.Clone(r.Bytes()), nil
		case r.Kind() == reflect.String:
			return []byte(r.String()), nil
		case r.Kind() == reflect.Array && r.Type().Elem().Kind() == reflect.Uint8:
			b := make([]byte, r.Len())
			reflect.Copy(reflect.ValueOf(b), r)
			return b, nil
		}
	case String, Decimal:
		switch {
		case isBytes:
			return string(r.Bytes()), nil
		case kind == Decimal && r.CanInt():
			return strconv.FormatInt(r.Int(), 10), nil
		case kind == Decimal && r.CanFloat():
			return strconv.FormatFloat(r.Float(), 'f', -1, 64), nil
		case kind == Decimal && r.Kind() == reflect.String:
			return r.String(), nil
		}
	}
	return convert(v, kind)
}

var errNull = errors.New("it is NULL, and the field can't be nil: use a pointer or sql.Null")

// setField gives the field that field points to the value of a column.
func setField(field any, kind Kind, v driver.Value) error {
	if scanner, ok := field.(sql.Scanner); ok {
		return scanner.Scan(v)
	}
	r := reflect.ValueOf(field).Elem()
	if r.Kind() == reflect.Pointer {
		if v == nil {
			r.SetZero()
			return nil
		}
		target := reflect.New(r.Type().Elem())
		r.Set(target)
		return setField(target.Interface(), kind, v)
	}
	if v == nil {
		if r.Kind() == reflect.Map || r.Kind() == reflect.Slice || r.Kind() == reflect.Interface {
			r.SetZero()
			return nil
		}
		return errNull
	}
	switch x := v.(type) {
	case string:
		return setText(field, r, x)
	case []byte:
		return setBytes(field, r, kind, x)
	case int64:
		return setInt(r, x)
	case float64:
		if r.CanFloat() {
			r.SetFloat(x)
			return nil
		}
	case bool:
		if r.Kind() == reflect.Bool {
			r.SetBool(x)
			return nil
		}
	case time.Time:
		if t, ok := field.(*time.Time); ok {
			*t = x
			return nil
		}
	}
	return fmt.Errorf("a value of type %T does not fit a field of type %s", v, r.Type())
}

func setText(field any, r reflect.Value, text string) error {
	if u, ok := field.(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch {
	case r.Kind() == reflect.String:
		r.SetString(text)
		return nil
	case r.CanFloat():
		f, err := strconv.ParseFloat(text, 64)
		r.SetFloat(f)
		return err
	case r.CanInt():
		n, err := strconv.ParseInt(text, 10, 64)
		return errors.Join(err, setInt(r, n))
	}
	return fmt.Errorf("a text does not fit a field of type %s", r.Type())
}

func setBytes(field any, r reflect.Value, kind Kind, b []byte) error {
	switch {
	case kind == JSON:
		return json.Unmarshal(b, field)
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Uint8:
		r.SetBytes(b)
		return nil
	case r.Kind() == reflect.Array && r.Type().Elem().Kind() == reflect.Uint8 && r.Len() == len(b):
		reflect.Copy(r, reflect.ValueOf(b))
		return nil
	case r.Kind() == reflect.String:
		r.SetString(string(b))
		return nil
	}
	return fmt.Errorf("%d bytes do not fit a field of type %s", len(b), r.Type())
}

func setInt(r reflect.Value, n int64) error {
	switch {
	case r.CanInt() && !r.OverflowInt(n):
		r.SetInt(n)
	case r.CanUint() && n >= 0 && !r.OverflowUint(uint64(n)):
		r.SetUint(uint64(n))
	case r.CanFloat():
		r.SetFloat(float64(n))
	default:
		return fmt.Errorf("the number %d does not fit a field of type %s", n, r.Type())
	}
	return nil
}

// formatID returns the text of the id that field points to; empty for none.
func formatID(field any) (string, error) {
	if text, ok := field.(encoding.TextMarshaler); ok {
		b, err := text.MarshalText()
		return string(b), err
	}
	r := reflect.ValueOf(field)
	if r.Kind() != reflect.Pointer {
		return "", fmt.Errorf("%T is no pointer to a field", field)
	}
	switch r = r.Elem(); {
	case r.Kind() == reflect.String:
		return r.String(), nil
	case (r.CanInt() || r.CanUint()) && r.IsZero():
		return "", nil
	case r.CanInt():
		return strconv.FormatInt(r.Int(), 10), nil
	case r.CanUint():
		return strconv.FormatUint(r.Uint(), 10), nil
	}
	return "", fmt.Errorf("an id can't be of type %s", r.Type())
}

// parseID gives the field that field points to the id.
func parseID(field any, id string) error {
	if u, ok := field.(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(id))
	}
	switch r := reflect.ValueOf(field).Elem(); {
	case r.Kind() == reflect.String:
		r.SetString(id)
		return nil
	case r.CanUint():
		n, err := strconv.ParseUint(id, 10, r.Type().Bits())
		r.SetUint(n)
		return err
	default:
		n, err := strconv.ParseInt(id, 10, 64)
		return errors.Join(err, setInt(r, n))
	}
}

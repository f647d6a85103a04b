package uow

import (
	"reflect"
	"time"
)

// copier tells by a copy whether an aggregate has changed, which is cheaper than its
// encoding where very many are loaded and few are changed.
type copier struct {
	fields []int // those that are compared
	deep   []int // those of them that are slices, and would share their elements
}

// newCopier returns nil for a type of which a copy does not tell: it has maps,
// interfaces, functions, channels or fields that can't be copied, or floats, of which a
// zero may change its sign and be equal.
func newCopier(t reflect.Type) *copier {
	if t.Kind() != reflect.Struct {
		return nil
	}
	c := &copier{}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Type == reflect.TypeFor[Events]() {
			continue
		}
		copyable, deep := canCopy(f.Type)
		if !copyable || deep && (!f.IsExported() || f.Type.Kind() != reflect.Slice) {
			return nil
		}
		c.fields = append(c.fields, i)
		if deep {
			c.deep = append(c.deep, i)
		}
	}
	return c
}

// canCopy reports whether a copy of a value tells whether it has changed, and whether
// that takes more than an assignment.
func canCopy(t reflect.Type) (copyable, deep bool) {
	switch k := t.Kind(); k {
	case reflect.Bool, reflect.String:
		return true, false
	case reflect.Array:
		return canCopy(t.Elem())
	case reflect.Slice:
		copyable, deep := canCopy(t.Elem())
		return copyable && !deep, true
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() { // its location never changes
			return true, false
		}
		for i := range t.NumField() {
			if copyable, deep := canCopy(t.Field(i).Type); !copyable || deep {
				return false, false // what is nested deeper is encoded
			}
		}
		return true, false
	default:
		return k >= reflect.Int && k <= reflect.Uint64, false
	}
}

// copy sets to, which is a zero value, to what from is.
func (c *copier) copy(to, from reflect.Value) {
	to.Set(from)
	for _, i := range c.deep {
		if f := from.Field(i); !f.IsNil() {
			list := reflect.MakeSlice(f.Type(), f.Len(), f.Len())
			reflect.Copy(list, f)
			to.Field(i).Set(list)
		}
	}
}

// equal reports whether two values are the same.
func (c *copier) equal(a, b reflect.Value) bool {
	for _, i := range c.fields {
		if !sameField(a.Field(i), b.Field(i)) {
			return false
		}
	}
	return true
}

func sameField(a, b reflect.Value) bool {
	if a.Kind() != reflect.Slice {
		return a.Equal(b)
	}
	if a.Len() != b.Len() || a.IsNil() != b.IsNil() {
		return false
	}
	for i := range a.Len() {
		if !a.Index(i).Equal(b.Index(i)) {
			return false
		}
	}
	return true
}

package driver

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Compare orders two values of one kind: nil first, false before true. It
// returns -1, 0 or 1, and 0 for values of different kinds.
func Compare(a, b Value) int {
	if a == nil || b == nil {
		return boolCompare(a != nil, b != nil)
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y)
		}
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
	case float64:
		if y, ok := b.(float64); ok {
			return cmp.Compare(x, y)
		}
	case bool:
		if y, ok := b.(bool); ok {
			return boolCompare(x, y)
		}
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y)
		}
	}
	return 0
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Match reports whether a value satisfies the condition, by the rules that every
// store follows: nil satisfies only Equal and In with nil.
func (c Condition) Match(v Value) bool {
	if c.Op == In {
		for _, want := range c.Values {
			if equal(v, want) {
				return true
			}
		}
		return false
	}
	if c.Op == Equal {
		return equal(v, c.Values[0])
	}
	if v == nil || c.Values[0] == nil {
		return false
	}
	order := Compare(v, c.Values[0])
	switch c.Op {
	case Less:
		return order < 0
	case LessOrEqual:
		return order <= 0
	case Greater:
		return order > 0
	case GreaterOrEqual:
		return order >= 0
	case Prefix:
		text, isText := v.(string)
		prefix, ok := c.Values[0].(string)
		return isText && ok && strings.HasPrefix(text, prefix)
	}
	return false
}

// PrefixEnd returns the least string that is greater than every string that begins
// with the prefix; ok is false when there is none. It is UTF-8 where the prefix is.
func PrefixEnd(prefix string) (end string, ok bool) {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		head := prefix[:len(prefix)-size]
		switch last := prefix[len(prefix)-1]; {
		case r == utf8.RuneError && size == 1 && last == 0xff, r == utf8.MaxRune:
			prefix = head
		case r == utf8.RuneError && size == 1:
			return head + string([]byte{last + 1}), true
		case r == 0xd7ff: // what follows are no characters
			return head + "\ue000", true
		default:
			return head + string(r+1), true
		}
	}
	return "", false
}

func equal(a, b Value) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return Compare(a, b) == 0
}

// Column returns the place of a query's field among the collection's indexes,
// or -1 for "id". ok is false when there is no such field.
func (c Collection) Column(field string) (i int, ok bool) {
	if field == "id" {
		return -1, true
	}
	for i, index := range c.Indexes {
		if index.Name == field {
			return i, true
		}
	}
	return 0, false
}

// KindOf returns the kind of a query's field. The field must exist.
func (c Collection) KindOf(field string) Kind {
	i, _ := c.Column(field)
	if i < 0 {
		return String
	}
	return c.Indexes[i].Kind
}

// Field returns a row's value of a query's field. The field must exist.
func (c Collection) Field(field, id string, indexes []Value) Value {
	i, _ := c.Column(field)
	if i < 0 {
		return id
	}
	return indexes[i]
}

// Match reports whether a row with this id and these index values satisfies all
// conditions of the query, is behind its place and not excepted.
func (q Query) Match(c Collection, id string, indexes []Value) bool {
	for _, condition := range q.Where {
		if !condition.Match(c.Field(condition.Field, id, indexes)) {
			return false
		}
	}
	return (q.After == nil || q.behind(c, id, indexes)) && !slices.Contains(q.Except, id)
}

// behind reports whether a row comes after the query's place.
func (q Query) behind(c Collection, id string, indexes []Value) bool {
	for i, o := range q.Order {
		order := Compare(c.Field(o.Field, id, indexes), q.After.Values[i])
		if o.Descending {
			order = -order
		}
		if order != 0 {
			return order > 0
		}
	}
	return id > q.After.ID
}

// Compare orders two rows, given by id and index values, by the query's order
// and then by id.
func (q Query) Compare(c Collection, idA string, a []Value, idB string, b []Value) int {
	for _, o := range q.Order {
		order := Compare(c.Field(o.Field, idA, a), c.Field(o.Field, idB, b))
		if order == 0 {
			continue
		}
		if o.Descending {
			return -order
		}
		return order
	}
	return strings.Compare(idA, idB)
}

// Again returns the query that a store runs to check the range, and what it must
// return. own are ids of rows of the collection that the transaction itself has
// written.
func (r Range) Again(own []string) (q Query, want []RowVersion) {
	q = r.Query
	q.Except = slices.Concat(q.Except, own)
	want = slices.DeleteFunc(slices.Clone(r.Rows), func(row RowVersion) bool { return slices.Contains(own, row.ID) })
	if q.Limit > 0 {
		q.Limit = max(len(want), 1) // what follows has not been seen
		if len(r.Rows) < r.Query.Limit {
			q.Limit++ // but there was nothing
		}
	}
	return q, want
}

// Differs returns a *ConflictError that names the first row that is not as it was;
// nil when there is none. got is what the query of Again returned.
func (r Range) Differs(want, got []RowVersion) error {
	if len(got) > len(want) && r.Query.Limit > 0 && len(r.Rows) == r.Query.Limit {
		got = got[:len(want)]
	}
	found := make(map[string]int64, len(got))
	for _, row := range got {
		found[row.ID] = row.Version
	}
	for _, row := range want {
		if v := found[row.ID]; v != row.Version {
			return &ConflictError{Collection: r.Collection, ID: row.ID, Expected: row.Version, Found: v}
		}
		delete(found, row.ID)
	}
	for _, row := range got {
		if v, unexpected := found[row.ID]; unexpected {
			return &ConflictError{Collection: r.Collection, ID: row.ID, Found: v}
		}
	}
	return nil
}

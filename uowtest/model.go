package uowtest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

// The model of queries is written anew here, and not with what package driver
// offers to stores, so that a mistake there is found.

// model selects things as every store must.
func model(all []*thing, q uow.Query) []*thing {
	var hits []*thing
	for _, v := range all {
		if !slices.ContainsFunc(q.Where, func(c uow.Condition) bool { return !satisfies(v, c) }) {
			hits = append(hits, v)
		}
	}
	slices.SortFunc(hits, func(a, b *thing) int {
		for _, o := range q.Order {
			order := compareFields(fieldOf(a, o.Field), fieldOf(b, o.Field))
			if o.Descending {
				order = -order
			}
			if order != 0 {
				return order
			}
		}
		return strings.Compare(a.ID, b.ID)
	})
	if q.Limit > 0 {
		hits = hits[:min(q.Limit, len(hits))]
	}
	return hits
}

func satisfies(v *thing, c uow.Condition) bool {
	got := fieldOf(v, c.Field)
	if c.Op == driver.In || c.Op == driver.Equal {
		return slices.ContainsFunc(c.Values, func(want driver.Value) bool {
			want = plain(want)
			return (got == nil) == (want == nil) && compareFields(got, want) == 0
		})
	}
	want := plain(c.Values[0])
	if c.Op == driver.Prefix {
		text, ok := got.(string)
		return ok && strings.HasPrefix(text, want.(string))
	}
	if got == nil || want == nil {
		return false
	}
	order := compareFields(got, want)
	return c.Op == driver.Less && order < 0 || c.Op == driver.LessOrEqual && order <= 0 ||
		c.Op == driver.Greater && order > 0 || c.Op == driver.GreaterOrEqual && order >= 0
}

// compareFields compares two plain values, nil first.
func compareFields(a, b any) int {
	if a == nil || b == nil {
		return cmp.Compare(present(a), present(b))
	}
	switch x := a.(type) {
	case string:
		return strings.Compare(x, b.(string))
	case int64:
		return cmp.Compare(x, b.(int64))
	case float64:
		return cmp.Compare(x, b.(float64))
	}
	return 0
}

func present(v any) int {
	if v == nil {
		return 0
	}
	return 1
}

// plain turns a value of any kind into a string, an int64 or a float64.
func plain(v any) any {
	switch x := v.(type) {
	case int:
		return int64(x)
	case bool:
		if x {
			return int64(1)
		}
		return int64(0)
	case time.Time:
		return x.UnixMicro()
	}
	return v
}

func thingFields() []string { return []string{"id", "text", "count", "ratio", "flag", "at"} }

// fieldOf returns a field of a thing as a plain value.
func fieldOf(v *thing, field string) any {
	switch {
	case field == "id":
		return v.ID
	case field == "text" && v.Text != nil:
		return *v.Text
	case field == "count" && v.Count != nil:
		return *v.Count
	case field == "ratio" && v.Ratio != nil:
		return *v.Ratio
	case field == "flag" && v.Flag != nil:
		return plain(*v.Flag)
	case field == "at" && v.At != nil:
		return plain(*v.At)
	}
	return nil
}

// valueOf returns a field of a thing as a user gives it to a query.
func valueOf(v *thing, field string) any {
	if fieldOf(v, field) == nil {
		return nil
	}
	switch field {
	case "flag":
		return *v.Flag
	case "at":
		return *v.At
	}
	return fieldOf(v, field)
}

func operators() []func(field string, value any) uow.Condition {
	return []func(field string, value any) uow.Condition{
		uow.Equal, uow.Less, uow.LessOrEqual, uow.Greater, uow.GreaterOrEqual,
		func(field string, value any) uow.Condition { return uow.In(field, value, value) },
		func(field string, value any) uow.Condition {
			if text, ok := value.(string); ok {
				return uow.Prefix(field, text[:min(len(text), 2)])
			}
			return uow.Equal(field, value)
		},
	}
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

// randomThing has values from few, or none.
func randomThing(random *rand.Rand, id string) *thing {
	v := &thing{ID: id}
	if n := random.IntN(5); n > 0 {
		v.Text = pointer([]string{"", "a", "B", "ab", "é"}[n])
	}
	if n := random.IntN(5); n > 0 {
		v.Count = pointer(int64(n - 3))
	}
	if n := random.IntN(5); n > 0 {
		v.Ratio = pointer(float64(n) / 4)
	}
	if n := random.IntN(3); n > 0 {
		v.Flag = pointer(n == 1)
	}
	if n := random.IntN(5); n > 0 {
		v.At = pointer(time.Date(2026, 1, 1, 0, 0, 0, n*1000, time.UTC))
	}
	return v
}

// randomQuery has up to three conditions and up to two orders.
func randomQuery(random *rand.Rand) uow.Query {
	q := uow.Query{Limit: max(0, random.IntN(20)-8)}
	for range random.IntN(4) {
		field := pick(random, thingFields())
		example := randomThing(random, fmt.Sprintf("t%02d", random.IntN(1000)*100))
		q.Where = append(q.Where, pick(random, operators())(field, valueOf(example, field)))
	}
	for range random.IntN(3) {
		o := uow.Order{Field: pick(random, thingFields()), Descending: random.IntN(2) == 0}
		q.Order = append(q.Order, o)
	}
	return q
}

// Package sqlquery writes queries as SQL, for the stores whose databases speak it.
// What differs between them is in a Dialect; what a query means is here once.
package sqlquery

import (
	"errors"
	"fmt"
	"strings"

	"github.com/uow-go/uow/driver"
)

// Dialect is how a database writes what a query needs. Its parameters are added in
// the order in which the text needs them.
type Dialect interface {
	// Field returns the expression by which a field is compared and ordered: its
	// column, with strings, and ids of every type, ordered by the bytes of their text.
	// place is that of Collection.Column.
	Field(place int) string
	// Value adds a parameter, which is not nil, to be compared with a field, and
	// returns what stands for it.
	Value(place int, v driver.Value) (string, error)
	// In returns the condition that a field has one of the values, of which there
	// is at least one and none is nil.
	In(place int, values []driver.Value) (string, error)
	// Order returns a criterion of the order, in which nil is before every value.
	Order(field string, descending bool) string
	// Limit adds a parameter and returns the clause.
	Limit(n int) string
}

// query is a query in the making.
type query struct {
	Dialect
	desc driver.Collection
}

// Where returns the condition of a query, without the word, and "" where there is
// none.
func Where(d Dialect, desc driver.Collection, q driver.Query) (string, error) {
	w := query{d, desc}
	var all []string
	for _, c := range q.Where {
		sql, err := w.condition(c)
		if err != nil {
			return "", err
		}
		all = append(all, sql)
	}
	if q.After != nil {
		sql, err := w.behind(q.Order, q.After)
		if err != nil {
			return "", err
		}
		all = append(all, sql)
	}
	if len(q.Except) > 0 {
		values := make([]driver.Value, len(q.Except))
		for i, id := range q.Except {
			values[i] = id
		}
		sql, err := w.In(-1, values)
		if err != nil {
			return "", err
		}
		all = append(all, "NOT ("+sql+")")
	}
	return strings.Join(all, " AND "), nil
}

// Tail returns what follows the condition: the order and the limit.
func Tail(d Dialect, desc driver.Collection, q driver.Query) (string, error) {
	w := query{d, desc}
	var b strings.Builder
	b.WriteString(" ORDER BY ")
	for _, o := range q.Order {
		place, err := w.place(o.Field)
		if err != nil {
			return "", err
		}
		b.WriteString(d.Order(d.Field(place), o.Descending) + ", ")
	}
	b.WriteString(d.Field(-1))
	if q.Limit > 0 {
		b.WriteString(d.Limit(q.Limit))
	}
	return b.String(), nil
}

func (w query) place(field string) (int, error) {
	place, ok := w.desc.Column(field)
	if !ok {
		return 0, fmt.Errorf("collection %s has no index %q", w.desc.Name, field)
	}
	return place, nil
}

var errShape = errors.New("a condition has the wrong number of values, or an unknown comparison")

func (w query) condition(c driver.Condition) (string, error) {
	place, err := w.place(c.Field)
	if err != nil {
		return "", err
	}
	if c.Op == driver.In {
		return w.in(place, c.Values)
	}
	if len(c.Values) != 1 {
		return "", errShape
	}
	v := c.Values[0]
	switch {
	case c.Op == driver.Equal:
		return w.equal(place, v)
	case v == nil: // nothing is below or above no value
		return "1 = 0", nil
	case c.Op == driver.Prefix:
		return w.prefix(place, v)
	}
	operator := map[driver.Comparison]string{
		driver.Less: " < ", driver.LessOrEqual: " <= ", driver.Greater: " > ", driver.GreaterOrEqual: " >= ",
	}[c.Op]
	if operator == "" {
		return "", errShape
	}
	return w.compare(place, operator, v)
}

func (w query) compare(place int, operator string, v driver.Value) (string, error) {
	value, err := w.Value(place, v)
	return w.Field(place) + operator + value, err
}

func (w query) equal(place int, v driver.Value) (string, error) {
	if v == nil {
		return w.Field(place) + " IS NULL", nil
	}
	if place < 0 { // by the key as it is, which an index serves
		return w.In(place, []driver.Value{v})
	}
	return w.compare(place, " = ", v)
}

// in asks for NULL apart, since a list never has it.
func (w query) in(place int, values []driver.Value) (string, error) {
	var list []driver.Value
	null := false
	for _, v := range values {
		if v == nil {
			null = true
			continue
		}
		list = append(list, v)
	}
	var any []string
	if len(list) > 0 {
		sql, err := w.In(place, list)
		if err != nil {
			return "", err
		}
		any = append(any, sql)
	}
	if null {
		any = append(any, w.Field(place)+" IS NULL")
	}
	if len(any) == 0 {
		return "1 = 0", nil
	}
	return "(" + strings.Join(any, " OR ") + ")", nil
}

// prefix asks for a range, which an index can serve.
func (w query) prefix(place int, v driver.Value) (string, error) {
	text, ok := v.(string)
	if !ok {
		return "", errShape
	}
	if text == "" {
		return w.Field(place) + " IS NOT NULL", nil
	}
	from, err := w.compare(place, " >= ", text)
	if err != nil {
		return "", err
	}
	end, ok := driver.PrefixEnd(text)
	if !ok {
		return from, nil
	}
	to, err := w.compare(place, " < ", end)
	return "(" + from + " AND " + to + ")", err
}

// behind writes that a row is behind a place: equal in some of the first fields of
// the order, and behind in the next.
func (w query) behind(orders []driver.Order, after *driver.Place) (string, error) {
	if len(after.Values) != len(orders) {
		return "", fmt.Errorf("the place has %d values, and the order %d", len(after.Values), len(orders))
	}
	var cases []string
	for n := range orders {
		sql, err := w.firstDiffers(orders, after, n)
		if err != nil {
			return "", err
		}
		if sql != "" {
			cases = append(cases, sql)
		}
	}
	same, err := w.sameBefore(orders, after, len(orders))
	if err != nil {
		return "", err
	}
	last, err := w.compare(-1, " > ", after.ID)
	if err != nil {
		return "", err
	}
	cases = append(cases, strings.Join(append(same, last), " AND "))
	return "((" + strings.Join(cases, ") OR (") + "))", nil
}

// sameBefore writes that the first n fields are those of the place.
func (w query) sameBefore(orders []driver.Order, after *driver.Place, n int) ([]string, error) {
	var same []string
	for i, o := range orders[:n] {
		place, err := w.place(o.Field)
		if err != nil {
			return nil, err
		}
		sql, err := w.equal(place, after.Values[i])
		if err != nil {
			return nil, err
		}
		same = append(same, sql)
	}
	return same, nil
}

// firstDiffers writes that the n-th field is the first that differs, and is behind;
// "" where nothing can be.
func (w query) firstDiffers(orders []driver.Order, after *driver.Place, n int) (string, error) {
	o, v := orders[n], after.Values[n]
	if o.Descending && v == nil {
		return "", nil
	}
	parts, err := w.sameBefore(orders, after, n)
	if err != nil {
		return "", err
	}
	place, err := w.place(o.Field)
	if err != nil {
		return "", err
	}
	var sql string
	switch {
	case v == nil:
		sql = w.Field(place) + " IS NOT NULL"
	case o.Descending:
		sql, err = w.compare(place, " < ", v)
		sql = "(" + sql + " OR " + w.Field(place) + " IS NULL)"
	default:
		sql, err = w.compare(place, " > ", v)
	}
	return strings.Join(append(parts, sql), " AND "), err
}

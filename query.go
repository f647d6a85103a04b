package uow

import (
	"fmt"

	"github.com/uow-go/uow/driver"
)

// Query selects aggregates of a collection:
//
//	accounts.In(u).Find(ctx, uow.Query{
//		Where: []uow.Condition{uow.Equal("owner", "alice"), uow.Greater("balance", 0)},
//		Order: []uow.Order{uow.Descending("balance")},
//		Limit: 10,
//	})
//
// Aggregates must satisfy all conditions. They come ordered by Order, then by
// id. Limit 0 means no limit. Fields are the collection's indexes, and "id"; in a
// collection with a Table they are its columns, but for kinds that can't be compared.
// Except are ids that do not count; After is a place in the order, for which
// Reader.Page is the easier way.
type Query = driver.Query

// Condition compares a field with values.
type Condition = driver.Condition

// Order is one criterion of a query's order.
type Order = driver.Order

// Equal is satisfied by aggregates whose field has the value; nil asks for those
// without one.
func Equal(field string, value any) Condition { return condition(field, driver.Equal, value) }

// In is satisfied by aggregates whose field has one of the values.
func In[V any](field string, values ...V) Condition {
	c := Condition{Field: field, Op: driver.In, Values: make([]driver.Value, len(values))}
	for i, v := range values {
		c.Values[i] = v
	}
	return c
}

// Less is satisfied by aggregates whose field is below the value.
func Less(field string, value any) Condition { return condition(field, driver.Less, value) }

// LessOrEqual is satisfied by aggregates whose field is not above the value.
func LessOrEqual(field string, value any) Condition {
	return condition(field, driver.LessOrEqual, value)
}

// Greater is satisfied by aggregates whose field is above the value.
func Greater(field string, value any) Condition { return condition(field, driver.Greater, value) }

// GreaterOrEqual is satisfied by aggregates whose field is not below the value.
func GreaterOrEqual(field string, value any) Condition {
	return condition(field, driver.GreaterOrEqual, value)
}

// Prefix is satisfied by aggregates whose field, of kind String or the id, begins
// with the text, byte by byte.
func Prefix(field, text string) Condition { return condition(field, driver.Prefix, text) }

// Ascending orders by a field, smallest first; aggregates without a value come
// first.
func Ascending(field string) Order { return Order{Field: field} }

// Descending orders by a field, greatest first; aggregates without a value come
// last.
func Descending(field string) Order { return Order{Field: field, Descending: true} }

func condition(field string, op driver.Comparison, value any) Condition {
	return Condition{Field: field, Op: op, Values: []driver.Value{value}}
}

// normalize checks a query against the collection and converts its values.
func normalize(c driver.Collection, q Query) (Query, error) {
	where := make([]Condition, len(q.Where))
	for i, condition := range q.Where {
		converted, err := normalizeCondition(c, condition)
		if err != nil {
			return q, err
		}
		where[i] = converted
	}
	q.Where = where
	for _, order := range q.Order {
		if err := checkField(c, order.Field); err != nil {
			return q, err
		}
	}
	if q.Limit < 0 {
		return q, configError("query of %s: limit %d is negative", c.Name, q.Limit)
	}
	return normalizePlace(c, q)
}

func normalizePlace(c driver.Collection, q Query) (Query, error) {
	if q.After == nil {
		return q, nil
	}
	if len(q.After.Values) != len(q.Order) {
		return q, configError("query of %s: After has %d values, want one for each of the %d orders", c.Name, len(q.After.Values), len(q.Order))
	}
	after := &driver.Place{ID: q.After.ID, Values: make([]driver.Value, len(q.Order))}
	for i, v := range q.After.Values {
		converted, err := convert(v, c.KindOf(q.Order[i].Field))
		if err != nil {
			return q, fmt.Errorf("%w: query of %s: After: field %s: %w", ErrConfig, c.Name, q.Order[i].Field, err)
		}
		after.Values[i] = converted
	}
	q.After = after
	return q, nil
}

func checkField(c driver.Collection, field string) error {
	if _, ok := c.Column(field); !ok {
		return unknownField(c, field)
	}
	if !c.KindOf(field).Comparable() {
		return configError("query of %s: column %s is of a kind that can't be compared", c.Name, field)
	}
	return nil
}

func normalizeCondition(c driver.Collection, condition Condition) (Condition, error) {
	if err := checkField(c, condition.Field); err != nil {
		return condition, err
	}
	kind := c.KindOf(condition.Field)
	if condition.Op == driver.Prefix && kind != String {
		return condition, configError("query of %s: prefix of %s, which is no String", c.Name, condition.Field)
	}
	if condition.Op < driver.Equal || condition.Op > driver.Prefix ||
		(condition.Op != driver.In && len(condition.Values) != 1) {
		return condition, configError("query of %s: condition on %s is not one of the functions' of this package", c.Name, condition.Field)
	}
	values := make([]driver.Value, len(condition.Values))
	for i, v := range condition.Values {
		converted, err := convert(v, kind)
		if err != nil {
			return condition, fmt.Errorf("%w: query of %s: field %s: %w", ErrConfig, c.Name, condition.Field, err)
		}
		values[i] = converted
	}
	condition.Values = values
	return condition, nil
}

func unknownField(c driver.Collection, field string) error {
	names := []string{"id"}
	for _, index := range c.Indexes {
		names = append(names, index.Name)
	}
	return configError("query of %s: no index %q; there are %v", c.Name, field, names)
}

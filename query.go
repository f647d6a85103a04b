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
// id. Limit 0 means no limit. Fields are the collection's indexes, and "id".
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
		if _, ok := c.Column(order.Field); !ok {
			return q, unknownField(c, order.Field)
		}
	}
	if q.Limit < 0 {
		return q, configError("query of %s: limit %d is negative", c.Name, q.Limit)
	}
	return q, nil
}

func normalizeCondition(c driver.Collection, condition Condition) (Condition, error) {
	column, ok := c.Column(condition.Field)
	if !ok {
		return condition, unknownField(c, condition.Field)
	}
	kind := String
	if column >= 0 {
		kind = c.Indexes[column].Kind
	}
	if condition.Op < driver.Equal || condition.Op > driver.GreaterOrEqual ||
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

package uow

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/uow-go/uow/driver"
)

// Page returns the aggregates behind a place in the query's order, Limit of them at
// most, and the place to go on from: "" for the first page, and "" when there is no
// further one. A place can be kept and sent to clients; it stays good when
// aggregates come and go, at the cost of one question to the database for a page,
// however far in the order.
//
// The query must be the same for all pages, but for Limit, which must not be 0. A
// place that is not one of the query's order is an ErrConfig.
func (r *Reader[T]) Page(ctx context.Context, q Query, after string) (page []*T, next string, err error) {
	if err := r.enter(); err != nil {
		return nil, "", err
	}
	defer r.set.unit.leave()
	desc := r.set.collection.desc
	if q, err = normalize(desc, q); err != nil {
		return nil, "", err
	}
	if q.Limit == 0 {
		return nil, "", configError("page of %s: the query has no limit", desc.Name)
	}
	if after != "" {
		if q.After, err = parsePlace(desc, q, after); err != nil {
			return nil, "", err
		}
	}
	limit := q.Limit
	q.Limit++ // to know whether there is more
	page, err = r.find(ctx, q)
	if err != nil || len(page) <= limit {
		return page, "", err
	}
	page = page[:limit]
	last := page[limit-1]
	indexes, err := r.set.collection.indexes(last)
	if err != nil {
		return nil, "", err
	}
	next, err = formatPlace(q, place(desc, q, r.set.collection.id(last), indexes))
	return page, next, err
}

// placeText is how a place is kept.
type placeText struct {
	Order  []driver.Order
	Values []json.RawMessage
	ID     string
}

func formatPlace(q Query, p *driver.Place) (string, error) {
	text := placeText{Order: q.Order, ID: p.ID, Values: make([]json.RawMessage, len(p.Values))}
	for i, v := range p.Values {
		if t, ok := v.(time.Time); ok {
			v = t.UnixMicro()
		}
		value, err := json.Marshal(v)
		if err != nil { // a float that JSON has no number for
			return "", fmt.Errorf("uow: place of %s: %w", q.Order[i].Field, err)
		}
		text.Values[i] = value
	}
	encoded, err := json.Marshal(text)
	return base64.RawURLEncoding.EncodeToString(encoded), err
}

func parsePlace(desc driver.Collection, q Query, place string) (*driver.Place, error) {
	wrong := configError("page of %s: the place is not one of this query's order", desc.Name)
	var text placeText
	encoded, err := base64.RawURLEncoding.DecodeString(place)
	if err != nil || json.Unmarshal(encoded, &text) != nil ||
		!slices.Equal(text.Order, q.Order) || len(text.Values) != len(q.Order) {
		return nil, wrong
	}
	p := &driver.Place{ID: text.ID, Values: make([]driver.Value, len(text.Values))}
	for i, value := range text.Values {
		v, err := parseValue(value, desc.KindOf(q.Order[i].Field))
		if err != nil {
			return nil, wrong
		}
		p.Values[i] = v
	}
	return p, nil
}

func parseValue(text json.RawMessage, kind Kind) (driver.Value, error) {
	if string(text) == "null" {
		return nil, nil
	}
	switch kind {
	case Int:
		return parsed[int64](text)
	case Float:
		return parsed[float64](text)
	case Bool:
		return parsed[bool](text)
	case Time:
		micros, err := parsed[int64](text)
		if err != nil {
			return nil, err
		}
		return time.UnixMicro(micros.(int64)).UTC(), nil
	}
	return parsed[string](text)
}

func parsed[V any](text json.RawMessage) (driver.Value, error) {
	var v V
	err := json.Unmarshal(text, &v)
	return v, err
}

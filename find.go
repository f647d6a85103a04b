package uow

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/uow-go/uow/driver"
)

// Find returns the aggregates that satisfy the query, in its order.
func (r *Reader[T]) Find(ctx context.Context, q Query) ([]*T, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.set.unit.leave()
	q, err := normalize(r.set.collection.desc, q)
	if err != nil {
		return nil, err
	}
	return r.find(ctx, q)
}

// find answers a normalized query.
func (r *Reader[T]) find(ctx context.Context, q Query) ([]*T, error) {
	stored := q
	if q.Limit > 0 { // those that the unit has may not belong to the result
		stored.Except = slices.Concat(q.Except, r.set.ids())
	}
	rows, err := r.query(ctx, stored)
	if err != nil {
		return nil, err
	}
	return r.merge(q, rows)
}

// found is an aggregate of a result, with what the query compares.
type found[T any] struct {
	entry   *entry[T]
	indexes []driver.Value
}

// merge puts together the rows of the database and the aggregates of the unit.
func (r *Reader[T]) merge(q Query, rows []driver.Row) ([]*T, error) {
	known := slices.Clone(r.set.entries.list)
	candidates := make([]*entry[T], 0, len(rows)+len(known))
	r.set.entries.expect(len(rows))
	for _, row := range rows {
		if _, tracked := r.set.entries.get(row.ID); tracked {
			continue // is in known
		}
		e, err := r.set.load(row)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, e)
	}
	if len(known) == 0 {
		return values(candidates, q.Limit), nil // in the database's order
	}
	hits, err := r.matching(q, append(candidates, known...))
	if err != nil {
		return nil, err
	}
	sorted := make([]*entry[T], len(hits))
	for i, hit := range hits {
		sorted[i] = hit.entry
	}
	return values(sorted, q.Limit), nil
}

// matching returns those that satisfy the query as they are now, in its order.
func (r *Reader[T]) matching(q Query, candidates []*entry[T]) ([]found[T], error) {
	desc := r.set.collection.desc
	hits := make([]found[T], 0, len(candidates))
	for _, e := range candidates {
		if e.removed {
			continue
		}
		indexes, err := r.set.collection.indexes(e.value)
		if err != nil {
			return nil, err
		}
		if q.Match(desc, e.id, indexes) {
			hits = append(hits, found[T]{e, indexes})
		}
	}
	slices.SortFunc(hits, func(a, b found[T]) int {
		return q.Compare(desc, a.entry.id, a.indexes, b.entry.id, b.indexes)
	})
	return hits, nil
}

func values[T any](entries []*entry[T], limit int) []*T {
	if limit > 0 && len(entries) > limit {
		entries = entries[:limit]
	}
	out := make([]*T, len(entries))
	for i, e := range entries {
		out[i] = e.value
	}
	return out
}

// Count returns how many aggregates satisfy the query: at most Limit, when there is
// one. None is loaded.
func (r *Reader[T]) Count(ctx context.Context, q Query) (int, error) {
	if err := r.enter(); err != nil {
		return 0, err
	}
	defer r.set.unit.leave()
	q, err := normalize(r.set.collection.desc, q)
	if err != nil {
		return 0, err
	}
	own, err := r.matching(q, r.set.entries.list)
	if err != nil {
		return 0, err
	}
	if q.Limit > 0 && len(own) >= q.Limit {
		return q.Limit, nil
	}
	stored := q
	stored.Except = slices.Concat(q.Except, r.set.ids())
	n, err := r.count(ctx, stored)
	if err != nil {
		return 0, err
	}
	n += len(own)
	if q.Limit > 0 {
		n = min(n, q.Limit)
	}
	return n, nil
}

// count asks the database.
func (r *Reader[T]) count(ctx context.Context, q Query) (int, error) {
	u := r.set.unit
	if u.options.Serializable { // the rows are demanded again at the commit
		rows, err := r.query(ctx, q)
		return len(rows), err
	}
	if err := u.begin(ctx); err != nil {
		return 0, err
	}
	at := u.calls()
	n, err := u.tx.Count(ctx, r.name(), q)
	u.called(at)
	if err != nil {
		return 0, fmt.Errorf("uow: %s: count: %w", r.name(), err)
	}
	return int(n), nil
}

// Exists reports whether any aggregate satisfies the query.
func (r *Reader[T]) Exists(ctx context.Context, q Query) (bool, error) {
	q.Limit = 1
	n, err := r.Count(ctx, q)
	return n > 0, err
}

// pageSize is how many aggregates All asks the database for at once.
const pageSize = 256

// All yields the aggregates that satisfy the query, in its order, a few at a time,
// so that a long result need not be in memory at once: a View forgets each when the
// next is asked for. A unit keeps them, since they may have been changed. An error
// ends the sequence.
//
// The aggregates that the unit has already are taken as they are when the sequence
// begins. The loop may use the unit, and change, add and remove aggregates: those
// that it adds do not come, those that it removes before their turn do not either, and
// none comes twice. Those that it changes and flushes before their turn may be missed.
func (r *Reader[T]) All(ctx context.Context, q Query) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		s := stream[T]{reader: r}
		if err := s.start(q); err != nil {
			yield(nil, err)
			return
		}
		for {
			value, err := s.next(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			if value == nil || !yield(value, nil) {
				return
			}
		}
	}
}

// stream is a result that is read page by page: rows of the database that the unit
// did not have at its start, between those that it had.
type stream[T any] struct {
	reader *Reader[T]
	query  Query
	own    []found[T]
	page   []driver.Row
	last   bool // there is no further page
	left   int  // how many may still come; below 0 for no limit
	loaded string
	seen   map[string]struct{} // what was yielded, in a unit
}

func (s *stream[T]) start(q Query) error {
	r := s.reader
	if err := r.enter(); err != nil {
		return err
	}
	defer r.set.unit.leave()
	q, err := normalize(r.set.collection.desc, q)
	if err != nil {
		return err
	}
	s.own, err = r.matching(q, r.set.entries.list)
	q.Except = slices.Concat(q.Except, r.set.ids())
	s.left = -1
	if q.Limit > 0 {
		s.left = q.Limit
	}
	q.Limit = pageSize
	s.query = q
	return err
}

// next returns the next aggregate, and nil at the end.
func (s *stream[T]) next(ctx context.Context) (*T, error) {
	r := s.reader
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.set.unit.leave()
	s.forget()
	for s.left != 0 {
		e, err := s.first(ctx)
		if e == nil || err != nil {
			return nil, err
		}
		if e.removed || s.again(e.id) {
			continue
		}
		s.left--
		return e.value, nil
	}
	return nil, nil
}

// again reports whether an aggregate has come already: a flush may have moved it.
func (s *stream[T]) again(id string) bool {
	if s.reader.set.unit.options.ReadOnly {
		return false
	}
	if _, ok := s.seen[id]; ok {
		return true
	}
	if s.seen == nil {
		s.seen = map[string]struct{}{}
	}
	s.seen[id] = struct{}{}
	return false
}

// forget lets a view's last aggregate go.
func (s *stream[T]) forget() {
	if m := s.reader.set; s.loaded != "" && m.unit.options.ReadOnly {
		m.entries.cut(len(m.entries.list) - 1)
		s.loaded = ""
	}
}

// first takes the first of what is left, on either side.
func (s *stream[T]) first(ctx context.Context) (*entry[T], error) {
	if len(s.page) == 0 && !s.last {
		rows, err := s.reader.query(ctx, s.query)
		if err != nil {
			return nil, err
		}
		s.page, s.last = rows, len(rows) < s.query.Limit
	}
	if len(s.page) == 0 {
		return s.takeOwn(), nil
	}
	m, row := s.reader.set, s.page[0]
	desc := m.collection.desc
	indexes, err := m.collection.stored(row)
	if err != nil {
		return nil, err
	}
	if s.query.After != nil && !(Query{Order: s.query.Order, After: s.query.After}).Match(desc, row.ID, indexes) {
		return nil, fmt.Errorf("uow: %s: the store's page begins anew with %s", desc.Name, row.ID) // and would for ever
	}
	if len(s.own) > 0 && s.query.Compare(desc, s.own[0].entry.id, s.own[0].indexes, row.ID, indexes) < 0 {
		return s.takeOwn(), nil
	}
	s.page = s.page[1:]
	if len(s.page) == 0 {
		s.query.After = place(desc, s.query, row.ID, indexes)
	}
	if e, known := m.entries.get(row.ID); known && e.added { // in the loop, and flushed
		return s.first(ctx)
	}
	return s.load(row)
}

func (s *stream[T]) takeOwn() *entry[T] {
	if len(s.own) == 0 {
		return nil
	}
	e := s.own[0].entry
	s.own = s.own[1:]
	return e
}

// load makes an aggregate of a row, unless the loop has met it since.
func (s *stream[T]) load(row driver.Row) (*entry[T], error) {
	m := s.reader.set
	if e, known := m.entries.get(row.ID); known {
		return e, nil
	}
	s.loaded = row.ID
	return m.load(row)
}

// place returns the place of a row in a query's order.
func place(desc driver.Collection, q Query, id string, indexes []driver.Value) *driver.Place {
	p := &driver.Place{ID: id, Values: make([]driver.Value, len(q.Order))}
	for i, o := range q.Order {
		p.Values[i] = desc.Field(o.Field, id, indexes)
	}
	return p
}

// ids returns the ids that the unit has met.
func (m *identityMap[T]) ids() []string {
	if len(m.entries.list) == 0 {
		return nil
	}
	ids := make([]string, len(m.entries.list))
	for i, e := range m.entries.list {
		ids[i] = e.id
	}
	slices.Sort(ids)
	return ids
}

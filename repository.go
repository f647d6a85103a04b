package uow

import (
	"context"
	"fmt"
	"slices"

	"github.com/uow-go/uow/driver"
)

// Repository reads and changes the aggregates of one collection within one unit.
// It can be had only from a unit, by Collection.In, and lives as long as it.
//
// The aggregates it returns are tracked: the same aggregate is the same pointer
// throughout the unit, and what the user changes in it is written by the commit,
// if its version in the database is still the one loaded.
type Repository[T any] struct {
	set *identityMap[T]
}

// In returns the collection's repository in the unit. When the collection is not
// one of the DB's, or the unit has ended, the repository's methods say so.
func (c *Collection[T]) In(u *Unit) *Repository[T] {
	m := &identityMap[T]{unit: u, collection: c}
	if err := u.enter(); err != nil {
		m.err = err
		return &Repository[T]{set: m}
	}
	defer u.leave()
	i, err := u.db.index(c, c.desc.Name)
	if err != nil {
		m.err = err
		return &Repository[T]{set: m}
	}
	if u.sets == nil {
		u.sets = make([]set, len(u.db.listed))
	}
	if known, ok := u.sets[i].(*identityMap[T]); ok {
		return &Repository[T]{set: known}
	}
	u.sets[i] = m
	return &Repository[T]{set: m}
}

func (r *Repository[T]) enter() error {
	if r.set == nil { // not had from a unit
		return ErrUnitClosed
	}
	if r.set.err != nil {
		return r.set.err
	}
	return r.set.unit.enter()
}

// Get returns the aggregate with the id. errors.Is(err, ErrNotFound) when there
// is none, or the unit has removed it.
func (r *Repository[T]) Get(ctx context.Context, id string) (*T, error) {
	found, err := r.GetMany(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: %s/%s", ErrNotFound, r.set.collection.desc.Name, id)
	}
	return found[0], nil
}

// GetMany returns the aggregates with the ids, in the order of the ids and
// without those that do not exist, with one question to the database at most.
func (r *Repository[T]) GetMany(ctx context.Context, ids ...string) ([]*T, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.set.unit.leave()
	var unknown []string
	for _, id := range ids {
		if _, ok := r.set.entries[id]; !ok {
			unknown = append(unknown, id)
		}
	}
	if err := r.fetch(ctx, unknown); err != nil {
		return nil, err
	}
	out := make([]*T, 0, len(ids))
	for _, id := range ids {
		if e, ok := r.set.entries[id]; ok && !e.removed {
			out = append(out, e.value)
		}
	}
	return out, nil
}

func (r *Repository[T]) fetch(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	u := r.set.unit
	if err := u.begin(ctx); err != nil {
		return err
	}
	at := u.watch.now()
	rows, err := u.tx.Get(ctx, r.set.collection.desc.Name, ids)
	u.watch.called(at)
	if err != nil {
		return fmt.Errorf("uow: %s: get: %w", r.set.collection.desc.Name, err)
	}
	for _, row := range rows {
		if _, err := r.set.load(row); err != nil {
			return err
		}
	}
	return nil
}

// Find returns the aggregates that satisfy the query, as the unit sees them: with
// its own changes, added aggregates among them and removed ones not.
func (r *Repository[T]) Find(ctx context.Context, q Query) ([]*T, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.set.unit.leave()
	q, err := normalize(r.set.collection.desc, q)
	if err != nil {
		return nil, err
	}
	stored, err := r.findStored(ctx, q)
	if err != nil {
		return nil, err
	}
	return r.merge(q, stored)
}

// findStored asks the database. Each aggregate that the unit already has may
// turn out not to belong to the result, so as many more are asked for.
func (r *Repository[T]) findStored(ctx context.Context, q Query) ([]driver.Row, error) {
	u := r.set.unit
	if err := u.begin(ctx); err != nil {
		return nil, err
	}
	if q.Limit > 0 {
		q.Limit += len(r.set.order)
	}
	at := u.watch.now()
	rows, err := u.tx.Find(ctx, r.set.collection.desc.Name, q)
	u.watch.called(at)
	if err != nil {
		return nil, fmt.Errorf("uow: %s: find: %w", r.set.collection.desc.Name, err)
	}
	return rows, nil
}

// found is an aggregate of a result, with what the query compares.
type found[T any] struct {
	entry   *entry[T]
	indexes []driver.Value
}

// merge puts together the rows of the database and the aggregates of the unit.
func (r *Repository[T]) merge(q Query, rows []driver.Row) ([]*T, error) {
	known := slices.Clone(r.set.order)
	candidates := make([]*entry[T], 0, len(rows)+len(known))
	for _, row := range rows {
		if _, tracked := r.set.entries[row.ID]; tracked {
			continue // is in known
		}
		e, err := r.set.load(row)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, e)
	}
	if len(known) == 0 {
		return limited(candidates, q.Limit), nil // in the database's order
	}
	return r.sorted(q, append(candidates, known...))
}

func (r *Repository[T]) sorted(q Query, candidates []*entry[T]) ([]*T, error) {
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
	entries := make([]*entry[T], len(hits))
	for i, hit := range hits {
		entries[i] = hit.entry
	}
	return limited(entries, q.Limit), nil
}

func limited[T any](entries []*entry[T], limit int) []*T {
	if limit > 0 && len(entries) > limit {
		entries = entries[:limit]
	}
	out := make([]*T, len(entries))
	for i, e := range entries {
		out[i] = e.value
	}
	return out
}

// Add makes an aggregate part of the unit, to be inserted by the commit. The
// commit fails with ErrConflict when an aggregate with its id exists by then.
// Adding an id that the unit has already, and has not removed, is an error.
func (r *Repository[T]) Add(aggregate *T) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer r.set.unit.leave()
	if aggregate == nil {
		return fmt.Errorf("uow: %s: add: the aggregate is nil", r.set.collection.desc.Name)
	}
	id := r.set.collection.id(aggregate)
	if id == "" {
		return fmt.Errorf("uow: %s: add: the aggregate's id is empty", r.set.collection.desc.Name)
	}
	old, known := r.set.entries[id]
	if !known {
		r.set.put(&entry[T]{value: aggregate, node: node{collection: r.set.collection.desc.Name, id: id}})
		return nil
	}
	if !old.removed {
		return fmt.Errorf("uow: %s/%s: add: the unit has this aggregate already", r.set.collection.desc.Name, id)
	}
	detach(old.value)
	old.value, old.removed = aggregate, false
	r.set.put(old)
	return nil
}

// Remove takes an aggregate of this unit out of the collection. The commit
// deletes it, if its version is still the one loaded.
func (r *Repository[T]) Remove(aggregate *T) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer r.set.unit.leave()
	e, err := r.tracked("remove", aggregate)
	if err != nil {
		return err
	}
	e.removed = true
	return nil
}

// Version returns the version of an aggregate of this unit as it was loaded: 1
// after its first commit, one more after each that changed it, 0 for one that
// was added. It can be sent to a client and demanded in a later unit by Require.
func (r *Repository[T]) Version(aggregate *T) (int64, error) {
	if err := r.enter(); err != nil {
		return 0, err
	}
	defer r.set.unit.leave()
	e, err := r.tracked("version", aggregate)
	if err != nil {
		return 0, err
	}
	return e.version, nil
}

// Require demands that an aggregate of this unit has the version, now and when
// the unit commits, whether or not the unit changes it. It returns a
// *ConflictError when the aggregate was loaded with another one.
func (r *Repository[T]) Require(aggregate *T, version int64) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer r.set.unit.leave()
	e, err := r.tracked("require", aggregate)
	if err != nil {
		return err
	}
	if e.version != version {
		return &ConflictError{Collection: e.collection, ID: e.id, Expected: version, Found: e.version}
	}
	e.required = true
	return nil
}

func (r *Repository[T]) tracked(what string, aggregate *T) (*entry[T], error) {
	name := r.set.collection.desc.Name
	if aggregate == nil {
		return nil, fmt.Errorf("uow: %s: %s: the aggregate is nil", name, what)
	}
	id := r.set.collection.id(aggregate)
	e, ok := r.set.entries[id]
	if !ok || e.value != aggregate || e.removed {
		return nil, fmt.Errorf("uow: %s/%s: %s: the aggregate is not one of this unit", name, id, what)
	}
	return e, nil
}

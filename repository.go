package uow

import "fmt"

// Repository reads and changes the aggregates of one collection within one unit.
// It can be had only from a unit, by Collection.In, and lives as long as it.
//
// The aggregates it returns are tracked: the same aggregate is the same pointer
// throughout the unit, and what the user changes in it is written by the commit,
// if its version in the database is still the one loaded.
type Repository[T any] struct {
	Reader[T]
}

// In returns the collection's repository in the unit. When the collection is not
// one of the DB's, or the unit has ended, the repository's methods say so.
func (c *Collection[T]) In(u *Unit) *Repository[T] {
	return &Repository[T]{Reader[T]{set: c.set(u)}}
}

// set returns the collection's part of a unit's identity map.
func (c *Collection[T]) set(u *Unit) *identityMap[T] {
	if err := u.enter(); err != nil {
		return &identityMap[T]{unit: u, collection: c, err: err}
	}
	defer u.leave()
	i, err := u.db.index(c, c.desc.Name)
	if err != nil {
		return &identityMap[T]{unit: u, collection: c, err: err}
	}
	if u.sets == nil {
		u.sets = u.room.sets[:]
		if len(u.db.listed) > len(u.room.sets) {
			u.sets = make([]set, len(u.db.listed))
		}
	}
	if known, ok := u.sets[i].(*identityMap[T]); ok {
		return known
	}
	m := &identityMap[T]{unit: u, collection: c, group: u.db.groups[i]}
	u.sets[i] = m
	return m
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
	old, known := r.set.entries.get(id)
	if !known {
		e := &entry[T]{value: aggregate, node: r.set.newNode(id)}
		e.added = true
		r.set.put(e)
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

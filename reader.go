package uow

import (
	"context"
	"fmt"

	"github.com/uow-go/uow/driver"
)

// Reader reads the aggregates of one collection: in a unit, where it is the reading
// half of a Repository, or in a View. It sees one snapshot of the database and, in
// a unit, the unit's own changes: added aggregates among them and removed ones not.
//
// The same aggregate is the same pointer throughout the unit or view.
type Reader[T any] struct {
	set *identityMap[T]
}

// enter begins an operation; the unit's leave ends it.
func (r *Reader[T]) enter() error {
	if r.set == nil { // not had from a unit
		return ErrUnitClosed
	}
	if r.set.err != nil {
		return r.set.err
	}
	return r.set.unit.enter()
}

func (r *Reader[T]) name() string { return r.set.collection.desc.Name }

// Get returns the aggregate with the id. errors.Is(err, ErrNotFound) when there
// is none, or the unit has removed it.
func (r *Reader[T]) Get(ctx context.Context, id string) (*T, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.set.unit.leave()
	e, known := r.set.entries.get(id)
	if !known {
		r.set.one[0] = id
		if err := r.fetch(ctx, r.set.one[:]); err != nil {
			return nil, err
		}
		e, _ = r.set.entries.get(id)
	}
	if e == nil || e.removed {
		return nil, fmt.Errorf("%w: %s/%s", ErrNotFound, r.name(), id)
	}
	return e.value, nil
}

// GetMany returns the aggregates with the ids, in the order of the ids and
// without those that do not exist, with one question to the database at most.
func (r *Reader[T]) GetMany(ctx context.Context, ids ...string) ([]*T, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.set.unit.leave()
	var unknown []string
	for _, id := range ids {
		if _, ok := r.set.entries.get(id); !ok {
			unknown = append(unknown, id)
		}
	}
	if err := r.fetch(ctx, unknown); err != nil {
		return nil, err
	}
	return r.known(ids), nil
}

// known returns those of the aggregates that the unit has.
func (r *Reader[T]) known(ids []string) []*T {
	out := make([]*T, 0, len(ids))
	for _, id := range ids {
		if e, ok := r.set.entries.get(id); ok && !e.removed {
			out = append(out, e.value)
		}
	}
	return out
}

func (r *Reader[T]) fetch(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	u := r.set.unit
	if err := u.begin(ctx); err != nil {
		return err
	}
	at := u.calls()
	rows, err := u.tx.Get(ctx, r.name(), ids)
	u.called(at)
	if err != nil {
		return fmt.Errorf("uow: %s: get: %w", r.name(), err)
	}
	r.set.entries.expect(len(rows))
	for _, row := range rows {
		if _, err := r.set.load(row); err != nil {
			return err
		}
	}
	r.set.missed(ids)
	return nil
}

// Version returns the version of an aggregate of this unit as it was loaded: 1
// after its first commit, one more after each that changed it, 0 for one that
// was added. It can be sent to a client and demanded in a later unit by
// Repository.Require.
func (r *Reader[T]) Version(aggregate *T) (int64, error) {
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

func (r *Reader[T]) tracked(what string, aggregate *T) (*entry[T], error) {
	if aggregate == nil {
		return nil, fmt.Errorf("uow: %s: %s: the aggregate is nil", r.name(), what)
	}
	id := r.set.collection.id(aggregate)
	e, ok := r.set.entries.get(id)
	if !ok || e.value != aggregate || e.removed {
		return nil, fmt.Errorf("uow: %s/%s: %s: the aggregate is not one of this unit", r.name(), id, what)
	}
	return e, nil
}

// query asks the database. What it returned is demanded again by the commit of a
// serializable unit.
func (r *Reader[T]) query(ctx context.Context, q Query) ([]driver.Row, error) {
	u := r.set.unit
	if err := u.begin(ctx); err != nil {
		return nil, err
	}
	at := u.calls()
	rows, err := u.tx.Find(ctx, r.name(), q)
	u.called(at)
	if err != nil {
		return nil, fmt.Errorf("uow: %s: find: %w", r.name(), err)
	}
	if u.options.Serializable {
		found := driver.Range{Collection: r.name(), Query: q, Rows: make([]driver.RowVersion, len(rows))}
		for i, row := range rows {
			found.Rows[i] = driver.RowVersion{ID: row.ID, Version: row.Version}
		}
		u.ranges = append(u.ranges, found)
	}
	return rows, nil
}

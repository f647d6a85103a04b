package uow

import (
	"context"
	"fmt"

	"github.com/uow-go/uow/driver"
)

// GetForUpdate is Get, and locks the aggregate until the unit ends: other units that
// want to lock or to change it wait. It is for aggregates that many units change at
// once, where each would fail with ErrConflict again and again.
//
// It waits for others too, as long as ctx allows, and returns the newest aggregate.
// Where the unit has read something before, its snapshot may be too old for that: an
// aggregate that has changed since is an ErrConflict, or an ErrRetryable where the
// server says so. So lock first; on some stores each read that follows then has a
// snapshot of its own. Units that lock several aggregates one after the other can
// deadlock, which is an ErrRetryable; GetManyForUpdate locks in one order.
//
// ErrUnsupported when the store has no locks, and ErrNotFound when there is no such
// aggregate: what does not exist is not locked.
func (r *Repository[T]) GetForUpdate(ctx context.Context, id string) (*T, error) {
	found, err := r.GetManyForUpdate(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: %s/%s", ErrNotFound, r.name(), id)
	}
	return found[0], nil
}

// GetManyForUpdate is GetMany, and locks the aggregates: see GetForUpdate.
func (r *Repository[T]) GetManyForUpdate(ctx context.Context, ids ...string) ([]*T, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.set.unit.leave()
	if len(ids) == 0 {
		return nil, nil
	}
	u := r.set.unit
	if err := u.begin(ctx); err != nil {
		return nil, err
	}
	locker, ok := u.tx.(driver.Locker)
	if !ok {
		return nil, fmt.Errorf("%w: locking reads (%T)", ErrUnsupported, u.db.store)
	}
	at := u.calls()
	rows, err := locker.GetForUpdate(ctx, r.name(), ids)
	u.called(at)
	if err != nil {
		return nil, fmt.Errorf("uow: %s: get for update: %w", r.name(), err)
	}
	if err := r.takeLocked(ids, rows); err != nil {
		return nil, err
	}
	return r.known(ids), nil
}

// takeLocked loads locked rows, which must be in the versions that the unit has.
func (r *Repository[T]) takeLocked(ids []string, rows []driver.Row) error {
	versions := make(map[string]int64, len(rows))
	for _, row := range rows {
		versions[row.ID] = row.Version
	}
	for _, id := range ids {
		if e, known := r.set.entries.get(id); known && e.version != versions[id] {
			return &ConflictError{Collection: r.name(), ID: id, Expected: e.version, Found: versions[id]}
		}
	}
	for _, row := range rows {
		if _, err := r.set.load(row); err != nil {
			return err
		}
	}
	r.set.missed(ids)
	return nil
}

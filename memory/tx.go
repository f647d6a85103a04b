package memory

import (
	"context"
	"maps"
	"slices"

	"github.com/uow-go/uow/driver"
)

// tx is a driver.Tx.
type tx struct {
	store    *store
	pinned   bool
	snapshot int64
	staged   staged
	failed   error // why it can only be rolled back
	nested   []nested
	locked   bool
	ended    bool
}

// nested is what a transaction was when a nested part began.
type nested struct {
	staged staged
	failed error
}

// Nest implements driver.Nester.
func (t *tx) Nest(ctx context.Context) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	t.nested = append(t.nested, nested{staged: t.staged.clone(), failed: t.failed})
	return nil
}

// Unnest implements driver.Nester.
func (t *tx) Unnest(keep bool) error {
	if t.ended {
		return errEnded
	}
	if len(t.nested) == 0 {
		return errNotNested
	}
	last := t.nested[len(t.nested)-1]
	t.nested = t.nested[:len(t.nested)-1]
	if !keep {
		t.staged, t.failed = last.staged, last.failed
	}
	return nil
}

// usable reports why the transaction can't be used.
func (t *tx) usable(ctx context.Context) error {
	if t.ended {
		return errEnded
	}
	if t.failed != nil {
		return t.failed
	}
	return context.Cause(ctx)
}

// read runs fn, which reads from the snapshot, and takes it before the first time.
func (t *tx) read(ctx context.Context, collection string, fn func(*table)) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	if err := t.pin(); err != nil {
		return err
	}
	t.store.mu.RLock()
	defer t.store.mu.RUnlock()
	table, err := t.store.table(collection)
	if err != nil {
		return err
	}
	fn(table)
	return nil
}

func (t *tx) pin() error {
	if t.pinned {
		return nil
	}
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if t.store.closed {
		return ErrClosed
	}
	t.snapshot, t.pinned = t.store.commits, true
	t.store.pins.add(t.snapshot)
	return nil
}

// Get implements driver.Tx.
func (t *tx) Get(ctx context.Context, collection string, ids []string) (rows []driver.Row, err error) {
	err = t.read(ctx, collection, func(table *table) {
		asked := make(map[string]bool, len(ids))
		for _, id := range ids {
			if asked[id] {
				continue
			}
			asked[id] = true
			if s, ok := t.see(table, id); ok {
				rows = append(rows, table.row(s))
			}
		}
	})
	return rows, err
}

// see returns the row as the transaction sees it.
func (t *tx) see(table *table, id string) (state, bool) {
	if s, ok := t.staged.rows[key{table.desc.Name, id}]; ok {
		return s, !s.deleted
	}
	if r, ok := table.rows[id]; ok {
		return r.at(t.snapshot)
	}
	return state{}, false
}

// Find implements driver.Tx.
func (t *tx) Find(ctx context.Context, collection string, q driver.Query) (rows []driver.Row, err error) {
	err = t.read(ctx, collection, func(table *table) {
		for _, s := range table.first(q, t.hits(table, q)) {
			rows = append(rows, table.row(s))
		}
	})
	return rows, err
}

// first puts hits into the query's order, and cuts them off at its limit.
func (t *table) first(q driver.Query, hits []state) []state {
	slices.SortFunc(hits, func(a, b state) int {
		return q.Compare(t.desc, a.row.ID, a.indexes, b.row.ID, b.indexes)
	})
	if q.Limit > 0 && len(hits) > q.Limit {
		hits = hits[:q.Limit]
	}
	return hits
}

// Count implements driver.Tx.
func (t *tx) Count(ctx context.Context, collection string, q driver.Query) (n int64, err error) {
	err = t.read(ctx, collection, func(table *table) {
		n = int64(len(t.hits(table, q)))
		if q.Limit > 0 {
			n = min(n, int64(q.Limit))
		}
	})
	return n, err
}

// hits returns what satisfies a query, in any order.
func (t *tx) hits(table *table, q driver.Query) (hits []state) {
	for _, id := range t.ids(table) {
		if s, ok := t.see(table, id); ok && q.Match(table.desc, id, s.indexes) {
			hits = append(hits, s)
		}
	}
	return hits
}

// ids returns the ids of all rows, flushed ones included.
func (t *tx) ids(table *table) []string {
	ids := slices.Collect(maps.Keys(table.rows))
	for k := range t.staged.rows {
		if _, known := table.rows[k.id]; k.collection == table.desc.Name && !known {
			ids = append(ids, k.id)
		}
	}
	return ids
}

// Flush implements driver.Tx.
func (t *tx) Flush(ctx context.Context, cs *driver.ChangeSet) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	t.store.mu.RLock()
	defer t.store.mu.RUnlock()
	if t.store.closed {
		return ErrClosed
	}
	t.failed = t.staged.add(t.store, cs)
	return t.failed
}

// Commit implements driver.Tx.
func (t *tx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	err := t.usable(ctx)
	if err == nil && (!cs.Empty() || len(t.staged.order) > 0) {
		err = t.lock(ctx)
	}
	if err == nil {
		err = t.commit(cs)
	}
	_ = t.Rollback() // never fails
	return err
}

// commit applies everything, and tells who waits for messages.
func (t *tx) commit(cs *driver.ChangeSet) error {
	if err := t.apply(cs); err != nil {
		return err
	}
	if len(t.staged.messages) > 0 {
		t.store.subscribers.Wake()
	}
	return nil
}

// apply checks what was flushed against what others have committed since, adds
// the rest, and makes all of it the newest state.
func (t *tx) apply(cs *driver.ChangeSet) error {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if t.store.closed {
		return ErrClosed
	}
	if err := t.staged.recheck(t.store); err != nil {
		return err
	}
	if err := t.staged.add(t.store, cs); err != nil {
		return err
	}
	t.staged.apply(t.store)
	return nil
}

// Rollback implements driver.Tx.
func (t *tx) Rollback() error {
	if t.ended {
		return nil
	}
	t.ended = true
	t.staged = staged{}
	if t.pinned {
		t.store.unpin(t.snapshot)
	}
	t.unlock()
	return nil
}

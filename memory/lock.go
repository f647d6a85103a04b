package memory

import (
	"context"

	"github.com/uow-go/uow/driver"
)

// GetForUpdate implements driver.Locker. The store has one lock for all rows, which
// commits take too: a transaction that has locked a row is the only one that can
// commit until it ends.
func (t *tx) GetForUpdate(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	if err := t.lock(ctx); err != nil {
		return nil, err
	}
	rows, err := t.Get(ctx, collection, ids) // takes the snapshot if there is none yet
	if err != nil {
		return nil, err
	}
	return rows, t.fresh(collection, ids)
}

// fresh reports a row that was changed after the transaction's snapshot.
func (t *tx) fresh(collection string, ids []string) error {
	t.store.mu.RLock()
	defer t.store.mu.RUnlock()
	table, err := t.store.table(collection)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, own := t.staged.rows[key{collection, id}]; own {
			continue
		}
		seen, _ := t.see(table, id)
		if newest := table.newest(id); newest.version() != seen.version() {
			return &driver.ConflictError{Collection: collection, ID: id, Expected: seen.version(), Found: newest.version()}
		}
	}
	return nil
}

// lock waits for the store's lock.
func (t *tx) lock(ctx context.Context) error {
	if t.locked {
		return nil
	}
	select {
	case t.store.writer <- struct{}{}:
		t.locked = true
		return nil
	default:
	}
	select {
	case t.store.writer <- struct{}{}:
		t.locked = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *tx) unlock() {
	if t.locked {
		t.locked = false
		<-t.store.writer
	}
}

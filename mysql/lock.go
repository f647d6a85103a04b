package mysql

import (
	"context"
	"slices"

	"github.com/uow-go/uow/driver"
)

// GetForUpdate implements driver.Locker. Locking reads see what is newest, whatever
// the snapshot is, so that what the snapshot has is compared.
func (t *tx) GetForUpdate(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	table, err := t.store.table(collection)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	wanted := make([]*driver.Write, len(ids))
	for i, id := range ids {
		wanted[i] = &driver.Write{Collection: collection, ID: id}
	}
	if err := t.ownSnapshot(ctx, wanted); err != nil {
		return nil, err
	}
	began, s := !t.begun, newScript()
	if err := t.opening(s, t.level(), false); err != nil {
		return nil, err
	}
	var rows []driver.Row
	seen := map[string]int64{}
	if !began {
		table.versions(s, ids, "", seen)
	}
	table.get(s, ids, forUpdate, table.collect(&rows))
	if s.err != nil {
		return nil, s.err
	}
	if err := t.connect(ctx); err != nil {
		return nil, err
	}
	t.begun = true
	if _, err := t.run(ctx, s); err != nil {
		t.begun = t.begun && !began
		if began && !t.conn.dead {
			t.conn.rollback(t.store.maxPacket)
		}
		return nil, t.readFailed(ctx, err)
	}
	t.locked = true
	if began {
		return rows, nil
	}
	return rows, fresh(collection, ids, seen, rows)
}

// fresh reports a row that was changed after the transaction's snapshot.
func fresh(collection string, ids []string, seen map[string]int64, rows []driver.Row) error {
	newest := make(map[string]int64, len(rows))
	for _, row := range rows {
		newest[row.ID] = row.Version
	}
	for _, id := range ids {
		if newest[id] != seen[id] {
			return &driver.ConflictError{Collection: collection, ID: id, Expected: seen[id], Found: newest[id]}
		}
	}
	return nil
}

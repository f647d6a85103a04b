package postgres

import (
	"context"

	"github.com/uow-go/uow/driver"
)

// GetForUpdate implements driver.Locker. Unless it is serializable, a unit that begins with it
// has no snapshot: each of its reads sees what is newest, and what it writes is
// written in the transaction that has the locks. A unit that has read before locks in
// its snapshot, and the server refuses rows that have changed since.
func (t *tx) GetForUpdate(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	table, err := t.store.table(collection)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got = rows{table: table}
	query := step{
		statement: table.selectLocked,
		args:      newArgs(len(ids)).texts(len(ids), func(i int) string { return ids[i] }),
		into:      &t.got,
	}
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	if query.args.err != nil {
		return nil, query.args.err
	}
	before, err := t.entering(ctx)
	if err != nil {
		return nil, err
	}
	if !t.begun && t.snapshot == nil && t.isolation() < Serializable {
		before = []step{plain(t.store.sql.begin[ReadCommitted])}
	}
	before = append(before, t.savepoints()...)
	steps := append(before, query)
	if failed, err := t.start(ctx, steps, nil); err != nil {
		t.savepointsMaybeTaken(steps, failed)
		return nil, t.store.wrap(ctx, "lock", err)
	}
	t.savepointsTaken()
	t.leaveSnapshot()
	t.native = true // the transaction is kept to the end
	return t.got.take(), nil
}

package uowtest

import (
	"context"

	"github.com/uow-go/uow/driver"
)

// Faults of counting, paging, locking, of ranges and of tables of the user's.

// countsAll counts what does not satisfy the query too.
func countsAll() fault {
	return fault{count: func(t *brokenTx, ctx context.Context, collection string, _ driver.Query) (int64, error) {
		return t.Tx.Count(ctx, collection, driver.Query{})
	}}
}

// findIgnoresPlace begins each page at the front.
func findIgnoresPlace() fault { return finds(func(q *driver.Query) { q.After = nil }, nil) }

func ignoresRanges() fault {
	return changes(func(_ *brokenStore, cs *driver.ChangeSet) { cs.Ranges = nil })
}

// rangesIgnoreOwn demands that what the unit has written itself is as it was.
func rangesIgnoreOwn() fault {
	return fault{commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		for _, r := range cs.Ranges {
			rows, err := t.Tx.Find(ctx, r.Collection, r.Query)
			if err != nil {
				return err
			}
			got := make([]driver.RowVersion, len(rows))
			for i, row := range rows {
				got[i] = driver.RowVersion{ID: row.ID, Version: row.Version}
			}
			if err := r.Differs(r.Rows, got); err != nil {
				_ = t.Tx.Rollback()
				return err
			}
		}
		return t.commit(ctx, cs)
	}}
}

func locksNothing() fault {
	return fault{lock: func(t *brokenTx, ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
		return t.Tx.Get(ctx, collection, ids)
	}}
}

func locksOne() fault {
	return fault{lock: func(t *brokenTx, ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
		return t.Tx.(driver.Locker).GetForUpdate(ctx, collection, ids[:1])
	}}
}

// dropsLastValue loses the value of the last column.
func dropsLastValue() fault {
	return fault{get: func(t *brokenTx, ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
		rows, err := t.Tx.Get(ctx, collection, ids)
		for _, row := range rows {
			if n := len(row.Indexes); n > 0 {
				row.Indexes[n-1] = nil
			}
		}
		return rows, err
	}}
}

func ignoresReleases() fault {
	return fault{
		flush: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			cs.Releases = nil
			return t.Tx.Flush(ctx, cs)
		},
		commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			cs.Releases = nil
			return t.commit(ctx, cs)
		},
	}
}

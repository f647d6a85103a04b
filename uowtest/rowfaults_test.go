package uowtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

// Faults of rows, queries and indexes, each named after what the store does wrong.

// manglesBodies gives bodies back with something lost.
func manglesBodies() fault {
	return fault{get: func(t *brokenTx, ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
		rows, err := t.Tx.Get(ctx, collection, ids)
		for i := range rows {
			rows[i].Body = bytes.ReplaceAll(rows[i].Body, []byte(`\u0000`), nil)
		}
		return rows, err
	}}
}

// getsAtMost leaves out what goes beyond.
func getsAtMost(n int) fault {
	return fault{get: func(t *brokenTx, ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
		return t.Tx.Get(ctx, collection, ids[:min(n, len(ids))])
	}}
}

// finds makes a fault that changes queries, or what they find.
func finds(before func(q *driver.Query), after func(rows []driver.Row) []driver.Row) fault {
	return fault{find: func(t *brokenTx, ctx context.Context, collection string, q driver.Query) ([]driver.Row, error) {
		if before != nil {
			before(&q)
		}
		rows, err := t.Tx.Find(ctx, collection, q)
		if after != nil {
			rows = after(rows)
		}
		return rows, err
	}}
}

func findIgnoresLimit() fault { return finds(func(q *driver.Query) { q.Limit = 0 }, nil) }
func findHalvesLimit() fault {
	return finds(func(q *driver.Query) { q.Limit = (q.Limit + 1) / 2 }, nil)
}
func findIgnoresOrder() fault { return finds(func(q *driver.Query) { q.Order = nil }, nil) }
func findIgnoresWhere() fault { return finds(func(q *driver.Query) { q.Where = nil }, nil) }

func findDropsLast() fault {
	return finds(nil, func(rows []driver.Row) []driver.Row { return rows[:max(0, len(rows)-1)] })
}

func findIgnoresCase() fault {
	return finds(nil, func(rows []driver.Row) []driver.Row {
		slices.SortStableFunc(rows, func(a, b driver.Row) int { return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)) })
		return rows
	})
}

// ignoresUnique stores duplicates.
func ignoresUnique() fault {
	return fault{commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		err := t.Tx.Commit(ctx, cs)
		if !errors.Is(err, uow.ErrDuplicate) {
			return err
		}
		for i := range cs.Writes {
			for j := range cs.Writes[i].Indexes {
				if _, text := cs.Writes[i].Indexes[j].(string); text {
					cs.Writes[i].Indexes[j] = nil
				}
			}
		}
		return t.store.again(cs)
	}}
}

// missingValuesCollide takes a missing value for an empty one.
func missingValuesCollide() fault {
	return changes(func(_ *brokenStore, cs *driver.ChangeSet) {
		for i := range cs.Writes {
			if w := &cs.Writes[i]; w.Collection == "members" && w.Op != driver.Delete && w.Indexes[0] == nil {
				w.Indexes[0] = ""
			}
		}
	})
}

// neverFreesValues remembers each value's first row for ever.
func neverFreesValues() fault {
	return fault{commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		for _, w := range cs.Writes {
			if w.Collection != "members" || w.Op == driver.Delete || w.Indexes[0] == nil {
				continue
			}
			if id, used := t.store.used[w.Indexes[0]]; used && id != w.ID {
				return &driver.DuplicateError{Collection: "members", ID: w.ID, Index: "email"}
			}
			t.store.used[w.Indexes[0]] = w.ID
		}
		return t.Tx.Commit(ctx, cs)
	}}
}

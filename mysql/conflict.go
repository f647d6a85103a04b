package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

// explain turns the error of a change set into what the driver's rules ask for. It
// undoes what the change set did, and where nothing was written before it, the
// whole transaction; and then looks at what the change set has met.
func (t *tx) explain(ctx context.Context, p *plan, err error) error {
	n := code(err)
	if n == codeNoSavepoint && t.native {
		return fmt.Errorf("%w: %w", ErrRolledBack, err)
	}
	if n == codeDuplicate && keyOf(err, "uow_units_unit") {
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	if n != codeRange && n != codeDuplicate && n != codeChanged || t.conn.dead {
		return t.store.wrap(ctx, "write", err)
	}
	cleaning, cancel := cleanup()
	defer cancel()
	lock := ""
	switch {
	case n == codeChanged: // the server has rolled back
		if t.flushed || t.native {
			return t.store.wrap(ctx, "write", err)
		}
	case t.flushed || t.native || t.locked || len(t.nested) > 0:
		if _, failed := t.run(cleaning, newScript().do("ROLLBACK TO SAVEPOINT "+atFlush)); failed != nil {
			t.conn.dead = true
			return t.store.wrap(ctx, "write", err)
		}
		lock = forUpdate // which reads what is newest, the transaction's own writes included
	default:
		if _, failed := t.run(cleaning, newScript().do("ROLLBACK")); failed != nil {
			t.conn.dead = true
			return t.store.wrap(ctx, "write", err)
		}
		t.begun = false
	}
	look := &lookup{tx: t, plan: p, ctx: cleaning, lock: lock, refused: err}
	if n == codeDuplicate && !p.ofKey(err) {
		return look.duplicate()
	}
	return look.conflict()
}

// keyOf reports whether a duplicate is one of the key: MySQL names its table too.
func keyOf(err error, key string) bool {
	named := strings.TrimSuffix(err.Error(), "'")
	return strings.HasSuffix(named, "'"+key) || strings.HasSuffix(named, "."+key)
}

// ofKey reports whether a duplicate may be one of the ids.
func (p *plan) ofKey(err error) bool {
	return slices.ContainsFunc(p.cs.Writes, func(w driver.Write) bool {
		return w.Op == driver.Insert && keyOf(err, p.store.tables[w.Collection].indexName)
	})
}

// lookup finds out what a change set has met.
type lookup struct {
	tx      *tx
	plan    *plan
	ctx     context.Context
	lock    string
	refused error
}

// conflict names the first row that does not have its version.
func (l *lookup) conflict() error {
	p := l.plan
	expected := make([]*driver.Write, 0, len(p.cs.Writes)+len(p.cs.Checks))
	for i := range p.cs.Writes {
		expected = append(expected, &p.cs.Writes[i])
	}
	for _, c := range p.cs.Checks {
		expected = append(expected, &driver.Write{Collection: c.Collection, ID: c.ID, Expected: c.Version})
	}
	for len(expected) > 0 {
		n := 1
		for n < len(expected) && expected[n].Collection == expected[0].Collection {
			n++
		}
		t := p.store.tables[expected[0].Collection]
		found, s := map[string]int64{}, newScript()
		t.versions(s, idsOf(expected[:n]), l.lock, found)
		if _, err := l.tx.run(l.ctx, s); err != nil {
			return unknown(driver.ErrConflict, l.refused, err)
		}
		for _, w := range expected[:n] {
			if found[w.ID] != w.Expected {
				return &driver.ConflictError{Collection: w.Collection, ID: w.ID, Expected: w.Expected, Found: found[w.ID]}
			}
		}
		expected = expected[n:]
	}
	if code(l.refused) == codeDuplicate && slices.ContainsFunc(p.store.listed, func(t *table) bool { return t.desc.Table != nil && !t.numeric }) {
		// The key's collation may take ids for the same that are not.
		return fmt.Errorf("mysql: write: %w: %w", driver.ErrDuplicate, l.refused)
	}
	// What was in the way is gone again.
	return fmt.Errorf("mysql: write: %w: %w", driver.ErrRetryable, l.refused)
}

func unknown(what, refused, err error) error {
	return fmt.Errorf("mysql: %w: %w; the database could not be asked for more: %w", what, refused, err)
}

// duplicate names the first row that takes a value which another row has: one in the
// database that does not give it up, or one before it in the change set.
func (l *lookup) duplicate() error {
	p := l.plan
	for _, t := range p.store.listed {
		for j, index := range t.desc.Indexes {
			if !index.Unique || !t.mayBe(l.refused, j) {
				continue
			}
			w, err := l.taken(t, j)
			if err != nil {
				return unknown(driver.ErrDuplicate, l.refused, err)
			}
			if w != nil {
				return &driver.DuplicateError{Collection: t.desc.Name, ID: w.ID, Index: index.Name}
			}
		}
	}
	return fmt.Errorf("mysql: write: %w: %w", driver.ErrRetryable, l.refused)
}

// mayBe reports whether a duplicate may be one of the index.
func (t *table) mayBe(err error, j int) bool {
	return slices.ContainsFunc(t.uniques[j], func(name string) bool { return keyOf(err, name) })
}

// taken returns the first write of a value of an index that is another row's.
func (l *lookup) taken(t *table, j int) (*driver.Write, error) {
	var writes []*driver.Write
	gives := map[string]bool{} // rows that get another value, or are deleted
	for i := range l.plan.cs.Writes {
		w := &l.plan.cs.Writes[i]
		if w.Collection != t.desc.Name {
			continue
		}
		gives[w.ID] = true
		if w.Op != driver.Delete && w.Indexes[j] != nil {
			writes = append(writes, w)
		}
	}
	holders, err := l.holders(t, j, writes)
	if err != nil {
		return nil, err
	}
	before := map[string]bool{}
	for i, w := range writes {
		if holders[i] != "" && !gives[holders[i]] {
			return w, nil
		}
		value := string(t.value(&script{}, j, w.Indexes[j]).b)
		if before[value] {
			return w, nil
		}
		before[value] = true
	}
	return nil, nil
}

// holders returns the ids of the other rows that have the writes' values; "" where
// there is none.
func (l *lookup) holders(t *table, j int, writes []*driver.Write) ([]string, error) {
	holders := make([]string, len(writes))
	s := newScript()
	for i, w := range writes {
		t.value(s.add("SELECT ", t.keyText(), " FROM ", t.name, " WHERE ", t.columns[j], " = "), j, w.Indexes[j])
		t.id(s.add(" AND ", t.key, " <> "), w.ID).add(" LIMIT 1", l.lock).query(func(row []sqldriver.Value) error {
			holders[i] = textOf(row[0])
			return nil
		})
	}
	if len(s.steps) == 0 {
		return holders, nil
	}
	_, err := l.tx.run(l.ctx, s)
	return holders, err
}

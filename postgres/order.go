package postgres

import (
	"fmt"
	"slices"

	"github.com/uow-go/uow/driver"
)

// inPlace reports whether the writes of a change set come in the order in which rows
// are locked, so that each statement can lock its own: collections as registered, each
// at one place, and rows that do not refer to each other.
func inPlace(cs *driver.ChangeSet, s *Store) bool {
	last := -1
	for i := range cs.Writes {
		t := s.tables[cs.Writes[i].Collection]
		if t == nil {
			continue // is refused elsewhere
		}
		if t.place < last || t.desc.SelfReferring {
			return false
		}
		if t.place == last && cs.Writes[i].Op == driver.Delete && cs.Writes[i-1].Op != driver.Delete {
			return false // the rows that are deleted after the others
		}
		last = t.place
	}
	return true
}

// run returns how many of the first writes can be planned together: those of one
// collection, and where the order counts of one operation.
func (p *plan) run(t *table, writes []driver.Write) int {
	n := 1
	for n < len(writes) && writes[n].Collection == t.desc.Name && (!p.locked || writes[n].Op == writes[0].Op) {
		n++
	}
	return n
}

// lockAll locks all rows of the change set that exist, in the order that all units
// share, and checks their versions.
func (p *plan) lockAll() error {
	rows := map[string][]*driver.Write{}
	for i := range p.cs.Writes {
		if w := &p.cs.Writes[i]; w.Op != driver.Insert {
			rows[w.Collection] = append(rows[w.Collection], w)
		}
	}
	for collection, checks := range p.checks {
		if _, err := p.store.table(collection); err != nil {
			return err
		}
		rows[collection] = append(rows[collection], checks...)
	}
	p.checks = nil
	for _, t := range p.store.listed {
		if existing := rows[t.desc.Name]; len(existing) > 0 {
			p.locking(t, t.lock, existing)
		}
	}
	return nil
}

// releases sets unique values that other rows take to NULL.
func (p *plan) releases() error {
	type column struct {
		collection string
		index      int
	}
	rows := map[column][]*driver.Write{}
	var order []column
	for _, r := range p.cs.Releases {
		t, err := p.store.table(r.Collection)
		if err != nil {
			return err
		}
		if r.Index < 0 || r.Index >= len(t.release) {
			return fmt.Errorf("postgres: %s/%s has no index %d to release", r.Collection, r.ID, r.Index)
		}
		c := column{r.Collection, r.Index}
		if !slices.Contains(order, c) {
			order = append(order, c)
		}
		rows[c] = append(rows[c], &driver.Write{Collection: r.Collection, ID: r.ID})
	}
	for _, c := range order {
		t := p.store.tables[c.collection]
		p.add(t.release[c.index], ids(rows[c]), t, 0, rows[c])
	}
	return nil
}

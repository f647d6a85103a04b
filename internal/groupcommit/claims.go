// Package groupcommit lets units that commit at once share a transaction, without sharing
// their fate: it says who waits for whom, which of them can be committed together, and
// which have lost to one that was. Stores of servers share it; how a group is committed
// is theirs.
package groupcommit

import "github.com/uow-go/uow/driver"

// Row names a row.
type Row struct{ Collection, ID string }

// Claims are the rows that the units of a group want, and whether they are written. A
// row that one of them writes belongs to no other.
type Claims map[Row]bool

// Add reports false, and adds nothing, when a unit wants what another one has.
func (c Claims) Add(cs *driver.ChangeSet) bool {
	for i := range cs.Writes {
		if _, ok := c[Row{cs.Writes[i].Collection, cs.Writes[i].ID}]; ok {
			return false
		}
	}
	for _, check := range cs.Checks {
		if c[Row{check.Collection, check.ID}] {
			return false
		}
	}
	for _, check := range cs.Checks {
		c[Row{check.Collection, check.ID}] = false
	}
	for i := range cs.Writes {
		c[Row{cs.Writes[i].Collection, cs.Writes[i].ID}] = true
	}
	return true
}

// Leavings are the versions that units have left. Versions never go back, except where a
// disposable row is inserted again, and those are not among them. So who
// expects an older one has lost, and there is no need to ask the server. One who expects
// a newer one may be right: other processes write too.
type Leavings map[Row]leaving

type leaving struct {
	version int64
	deleted bool
}

// Add notes what a unit has left that was committed, but for disposable collections.
func (l Leavings) Add(cs *driver.ChangeSet, disposable func(collection string) bool) {
	for i := range cs.Writes {
		w := &cs.Writes[i]
		if disposable(w.Collection) {
			continue
		}
		l[Row{w.Collection, w.ID}] = leaving{w.Version, w.Op == driver.Delete}
	}
}

// MissedBy returns the conflict of a unit with them, or nil.
func (l Leavings) MissedBy(cs *driver.ChangeSet) error {
	if len(l) == 0 {
		return nil
	}
	for i := range cs.Writes {
		w := &cs.Writes[i]
		if err := l.missed(w.Collection, w.ID, w.Expected); err != nil {
			return err
		}
	}
	for _, c := range cs.Checks {
		if err := l.missed(c.Collection, c.ID, c.Version); err != nil {
			return err
		}
	}
	return nil
}

func (l Leavings) missed(collection, id string, expected int64) error {
	left, ok := l[Row{collection, id}]
	if !ok || expected == 0 || left.version <= expected {
		return nil
	}
	found := left.version
	if left.deleted {
		found = 0
	}
	return &driver.ConflictError{Collection: collection, ID: id, Expected: expected, Found: found}
}

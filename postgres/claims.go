package postgres

import (
	"slices"

	"github.com/uow-go/uow/driver"
)

// claims are the rows that the units of a group want. A row that one of them writes
// belongs to no other.
type claims map[claim]bool // whether it is written

type claim struct{ collection, id string }

// add reports false, and adds nothing, when a unit wants what another one has.
func (c claims) add(cs *driver.ChangeSet) bool {
	for i := range cs.Writes {
		if _, ok := c[claim{cs.Writes[i].Collection, cs.Writes[i].ID}]; ok {
			return false
		}
	}
	for _, check := range cs.Checks {
		if c[claim{check.Collection, check.ID}] {
			return false
		}
	}
	for _, check := range cs.Checks {
		c[claim{check.Collection, check.ID}] = false
	}
	for i := range cs.Writes {
		c[claim{cs.Writes[i].Collection, cs.Writes[i].ID}] = true
	}
	return true
}

// overtaken settles those of the waiting who expect a version that a unit of the group
// has replaced: there is no need to ask the server. It returns the others.
func overtaken(waiting, group []*request) []*request {
	left := map[claim]int64{} // the versions that the group has left; 0: no row
	for _, r := range group {
		if r.fate != settled || r.err != nil {
			continue
		}
		for i := range r.cs.Writes {
			w := &r.cs.Writes[i]
			version := w.Version
			if w.Op == driver.Delete {
				version = 0
			}
			left[claim{w.Collection, w.ID}] = version
		}
	}
	return slices.DeleteFunc(waiting, func(r *request) bool {
		err := missedBy(r.cs, left)
		if err == nil {
			return false
		}
		r.fail(err)
		r.wake <- settled
		return true
	})
}

// missedBy returns the conflict of a unit with versions that are known, or nil.
func missedBy(cs *driver.ChangeSet, left map[claim]int64) error {
	for i := range cs.Writes {
		w := &cs.Writes[i]
		if version, ok := left[claim{w.Collection, w.ID}]; ok && version != w.Expected {
			return &driver.ConflictError{Collection: w.Collection, ID: w.ID, Expected: w.Expected, Found: version}
		}
	}
	for _, c := range cs.Checks {
		if version, ok := left[claim{c.Collection, c.ID}]; ok && version != c.Version {
			return &driver.ConflictError{Collection: c.Collection, ID: c.ID, Expected: c.Version, Found: version}
		}
	}
	return nil
}

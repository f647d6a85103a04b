package mysql

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

// leavings are the versions that a group has left. Versions never go back, so that
// who expects an older one has lost, and there is no need to ask the server.
type leavings map[claim]leaving

type leaving struct {
	version int64
	deleted bool
}

func (l leavings) add(group []*request) {
	for _, r := range group {
		if r.fate != settled || r.err != nil {
			continue
		}
		for i := range r.cs.Writes {
			w := &r.cs.Writes[i]
			l[claim{w.Collection, w.ID}] = leaving{w.Version, w.Op == driver.Delete}
		}
	}
}

// missedBy returns the conflict of a unit with them, or nil.
func (l leavings) missedBy(cs *driver.ChangeSet) (conflict error) {
	if len(l) == 0 {
		return nil
	}
	(&request{cs: cs}).each(func(collection, id string, expected int64) {
		left, ok := l[claim{collection, id}]
		if !ok || expected == 0 || left.version <= expected || conflict != nil {
			return
		}
		found := left.version
		if left.deleted {
			found = 0
		}
		conflict = &driver.ConflictError{Collection: collection, ID: id, Expected: expected, Found: found}
	})
	return conflict
}

// overtaken settles those of the waiting who have lost. It returns the others.
func (l leavings) overtaken(waiting []*request) []*request {
	return slices.DeleteFunc(waiting, func(r *request) bool {
		err := l.missedBy(r.cs)
		if err == nil {
			return false
		}
		r.settle(err)
		r.wake <- settled
		return true
	})
}

package mysql

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
)

// A group is one transaction of the server. It is tried in up to three ways:
//
//   - At first as if all units could be committed, in one round trip. The rows are
//     locked first, as far as nobody else has them; one that is missing then ends the
//     script.
//   - After that the rows are locked and looked at. The units whose rows have other
//     versions are told so, those whose rows somebody else has are left to themselves,
//     and the rest is committed: two round trips.
//   - What is left then goes by itself, each unit in a transaction of its own. There a
//     unique value that is taken, and whatever else there is, is the unit's own error.
//
// Existing rows are never waited for, since those who have them may hold them for long,
// and all units would wait with the group. What must be waited for, the keys of new
// rows, is so for a second, after which units go by themselves for a while.

// hurry makes statements wait for locks for a second, the least that the server knows,
// and patient takes it back.
const (
	hurry   = "SET @uow_wait = @@innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1"
	patient = "SET SESSION innodb_lock_wait_timeout = @uow_wait"
)

// skipLocked makes a locking read leave out rows that somebody else has.
const skipLocked = " SKIP LOCKED"

// runTogether gives each request of a group its outcome.
func (t *tx) runTogether(ctx context.Context, group []*groupcommit.Request) {
	if t.tryTogether(ctx, group, false) {
		return
	}
	rest, ok := t.sift(ctx, group)
	if ok && (len(rest) == 0 || len(group) > 1 && t.tryTogether(ctx, rest, true)) {
		return
	}
	for _, r := range rest {
		r.LeaveAlone()
	}
}

// tryTogether commits the units of a group, all or none, and reports whether they have
// an outcome; if not, nothing happened. locked says that the rows are locked already.
func (t *tx) tryTogether(ctx context.Context, group []*groupcommit.Request, locked bool) (settled bool) {
	if !t.conn.alive() {
		return false
	}
	m := t.store.merge(group)
	m.locked = locked
	s := newScript()
	if !locked {
		t.enterGroup(s, len(group) == 1 && m.lockNoGaps())
	}
	hasty := !t.conn.hasty && m.inserts()
	if hasty {
		s.do(hurry)
	}
	m.writes(s)
	m.markers(s)
	m.messages(s)
	if s.do("COMMIT AND NO CHAIN NO RELEASE"); s.err != nil {
		return false
	}
	t.begun, t.conn.hasty = true, t.conn.hasty || hasty
	all, err := t.run(ctx, s)
	switch {
	case err == nil:
		t.begun = false
		m.settle()
		return true
	case answered(err):
		if code(err) == codeLockWait {
			t.store.apart.hold()
		}
		return false
	case !all:
		err = t.store.wrap(ctx, "commit", err)
	default:
		err = fmt.Errorf("mysql: commit: %w: %w", driver.ErrInDoubt, err)
	}
	for _, r := range group {
		r.Settle(err)
	}
	return true
}

// enterGroup appends the beginning of a group's transaction.
func (t *tx) enterGroup(s *script, noGaps bool) {
	level := ReadCommitted
	if noGaps && t.store.ownLevel == RepeatableRead {
		level = RepeatableRead // which is a statement less
	}
	if t.begun {
		t.store.beginAnew(s, level)
	} else {
		t.store.begin(s, level, false)
	}
}

// sift locks the rows of a group, as far as nobody else has them, in a new transaction,
// and settles the units whose rows have other versions. It returns those that can be
// committed then; ok is false when it could not be done.
func (t *tx) sift(ctx context.Context, group []*groupcommit.Request) (rest []*groupcommit.Request, ok bool) {
	if !t.conn.alive() {
		return group, false
	}
	s, found := newScript().do("ROLLBACK"), make([]map[string]int64, len(t.store.listed))
	t.store.begin(s, ReadCommitted, false)
	wants := make([][]string, len(t.store.listed))
	for _, r := range group {
		each(r.ChangeSet, func(collection, id string, _ int64) {
			place := t.store.tables[collection].place
			wants[place] = append(wants[place], id)
		})
	}
	for place, ids := range wants {
		found[place] = map[string]int64{}
		t.store.listed[place].versions(s, ids, forUpdate+skipLocked, found[place])
	}
	t.begun = true
	if _, err := t.run(ctx, s); err != nil {
		return group, false
	}
	for _, r := range group {
		each(r.ChangeSet, func(collection, id string, expected int64) {
			version, there := found[t.store.tables[collection].place][id]
			switch {
			case version == expected || r.Settled():
			case there:
				r.Settle(&driver.ConflictError{Collection: collection, ID: id, Expected: expected, Found: version})
			default: // it is not there, or somebody else has it
				r.LeaveAlone()
			}
		})
		if r.Open() {
			rest = append(rest, r)
		}
	}
	return rest, true
}

// each calls fn with the rows that a unit writes or checks, and their versions.
func each(cs *driver.ChangeSet, fn func(collection, id string, expected int64)) {
	for i := range cs.Writes {
		fn(cs.Writes[i].Collection, cs.Writes[i].ID, cs.Writes[i].Expected)
	}
	for _, c := range cs.Checks {
		fn(c.Collection, c.ID, c.Version)
	}
}

// merged is the plan of a group: its change set has what all units have.
type merged struct {
	plan
	group       []*groupcommit.Request
	ownWrites   []*driver.Write // the units' own, as those of the plan
	ownMessages []*driver.Message
}

// merge makes the plan of a group. Rows are written by collections as registered, and
// in each deletes come before updates, and updates before inserts, so that each kind is
// one statement; the messages of each unit keep their order.
func (s *Store) merge(group []*groupcommit.Request) *merged {
	m := &merged{group: group}
	m.plan = plan{store: s, cs: &driver.ChangeSet{}, together: true}
	type from struct{ unit, write int }
	var order []from
	for unit, r := range group {
		for i := range r.ChangeSet.Writes {
			order = append(order, from{unit, i})
		}
	}
	at := func(f from) *driver.Write { return &group[f.unit].ChangeSet.Writes[f.write] }
	slices.SortFunc(order, func(a, b from) int {
		x, y := at(a), at(b)
		return cmp.Or(cmp.Compare(s.tables[x.Collection].place, s.tables[y.Collection].place), cmp.Compare(y.Op, x.Op), strings.Compare(x.ID, y.ID))
	})
	places := map[from]int{}
	for i, f := range order {
		m.ownWrites = append(m.ownWrites, at(f))
		m.cs.Writes = append(m.cs.Writes, *at(f))
		places[f] = i + 1
	}
	checks := map[driver.Check]bool{}
	for unit, r := range group {
		for _, c := range r.ChangeSet.Checks {
			if !checks[c] {
				m.cs.Checks, checks[c] = append(m.cs.Checks, c), true
			}
		}
		for i := range r.ChangeSet.Messages {
			message := r.ChangeSet.Messages[i]
			message.Write = places[from{unit, message.Write - 1}]
			m.ownMessages = append(m.ownMessages, &r.ChangeSet.Messages[i])
			m.cs.Messages = append(m.cs.Messages, message)
		}
	}
	return m
}

// inserts reports whether new keys are written, which may have to be waited for.
func (m *merged) inserts() bool {
	return slices.ContainsFunc(m.cs.Writes, func(w driver.Write) bool { return w.Op == driver.Insert })
}

// markers appends the statement that marks the units as committed, as marker does.
func (m *merged) markers(s *script) {
	m.cs.Unit = m.group[0].ChangeSet.Unit
	m.marker(s, len(m.cs.Messages) > 0, m.group[1:]...)
}

// settle is the outcome of all units after the commit.
func (m *merged) settle() {
	err := m.adjust()
	for i, w := range m.ownWrites {
		w.Version, w.Sequence = m.cs.Writes[i].Version, m.cs.Writes[i].Sequence
	}
	for i, message := range m.ownMessages {
		message.Sequence = m.cs.Messages[i].Sequence
	}
	if len(m.cs.Messages) > 0 {
		m.store.subscribers.Wake(false)
	}
	for _, r := range m.group {
		r.Settle(err)
	}
}

package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
)

// groupPlan is what a group sends, as one transaction of the server.
//
// First all rows of all units are locked, and it is decided which units are out: their
// rows are of other versions, or locked by somebody, or have unique values that are
// taken. Nothing is waited for. Then the rows, messages and markers of the units that
// are left are written, which can't fail for the reasons that are known. Whatever
// fails nevertheless ends the transaction.
type groupPlan struct {
	store *Store
	group []*groupcommit.Request
	steps []step
	parts []groupPart // by the place of the collection
	found []error     // the conflict of each unit; nil where there is none
	out   []bool
	// shifts are those of all units.
	shifts []shift
	given  *given // to the messages; nil where nobody asks
}

// groupPart is what a group does to one collection.
type groupPart struct {
	deletes, updates, inserts, checks []member
}

// member is a row of a group: a write, or a check as a write without an Op.
type member struct {
	*driver.Write
	unit int
}

func (s *Store) groupPlan(group []*groupcommit.Request) (*groupPlan, error) {
	g := &groupPlan{store: s, group: group, parts: make([]groupPart, len(s.listed)),
		found: make([]error, len(group)), out: make([]bool, len(group)), steps: make([]step, 0, 8)}
	s.groupMem.used = 0
	for unit, r := range group {
		if err := g.sort(unit, r.ChangeSet); err != nil {
			return nil, err
		}
	}
	g.steps = append(g.steps, plain(s.sql.startTogether))
	for i, t := range s.listed {
		g.decide(t, &g.parts[i])
	}
	for i, t := range s.listed {
		g.write(t, &g.parts[i])
	}
	if err := g.messages(); err != nil {
		return nil, err
	}
	g.marks()
	for i := range g.steps {
		if a := g.steps[i].args; a != nil && a.err != nil {
			return nil, a.err
		}
	}
	return g, nil
}

// sort puts the rows of a unit where they belong.
func (g *groupPlan) sort(unit int, cs *driver.ChangeSet) error {
	for i := range cs.Writes {
		w := &cs.Writes[i]
		t, err := g.store.table(w.Collection)
		if err != nil {
			return err
		}
		p, m := &g.parts[t.place], member{w, unit}
		switch w.Op {
		case driver.Delete:
			p.deletes = append(p.deletes, m)
			continue
		case driver.Update:
			p.updates = append(p.updates, m)
		case driver.Insert:
			p.inserts = append(p.inserts, m)
		default:
			return fmt.Errorf("postgres: unknown operation %v", w.Op)
		}
		if len(w.Indexes) != len(t.desc.Indexes) {
			return fmt.Errorf("postgres: %s/%s: the write has %d index values, want %d", w.Collection, w.ID, len(w.Indexes), len(t.desc.Indexes))
		}
	}
	for _, c := range cs.Checks {
		t, err := g.store.table(c.Collection)
		if err != nil {
			return err
		}
		p := &g.parts[t.place]
		p.checks = append(p.checks, member{&driver.Write{Collection: c.Collection, ID: c.ID, Expected: c.Version}, unit})
	}
	return nil
}

func byID(a, b member) int { return strings.Compare(a.ID, b.ID) }

func (g *groupPlan) ids(rows []member) *args {
	return g.store.groupMem.newArgs().texts(len(rows), func(i int) string { return rows[i].ID })
}

func (a *args) expected(rows []member) *args {
	return a.ints(len(rows), func(i int) int64 { return rows[i].Expected })
}

func (a *args) versions(rows []member) *args {
	return a.ints(len(rows), func(i int) int64 { return rows[i].Version })
}

func (a *args) sequences(rows []member) *args {
	return a.ints(len(rows), func(i int) int64 { return rows[i].Sequence })
}

func (a *args) units(rows []member) *args {
	return a.ints(len(rows), func(i int) int64 { return int64(rows[i].unit) })
}

// decide locks a collection's rows, and puts out the units that can't be committed.
func (g *groupPlan) decide(t *table, p *groupPart) {
	for _, rows := range [][]member{p.deletes, p.updates, p.inserts, p.checks} {
		slices.SortFunc(rows, byID)
	}
	written := slices.Concat(p.deletes, p.updates, p.inserts)
	if len(written) > 0 {
		lock := t.together.lock
		if len(p.deletes) > 0 || t.unique {
			lock = t.together.lockKeys // others may refer to the row
		}
		g.lock(lock, written)
	}
	if len(p.checks) > 0 {
		g.lock(t.together.share, p.checks)
	}
	if !t.unique {
		return
	}
	valued, n := slices.Concat(p.updates, p.inserts), 0
	for i, index := range t.desc.Indexes {
		if !index.Unique || len(valued) == 0 {
			continue
		}
		a := g.ids(valued).indexValues(index.Kind, len(valued), func(j int) driver.Value { return valued[j].Indexes[i] })
		g.steps = append(g.steps, step{statement: t.together.taken[n], args: a.units(valued), row: func(row [][]byte) error {
			g.out[number(row[0])] = true
			return nil
		}})
		n++
	}
}

func (g *groupPlan) lock(st *statement, rows []member) {
	g.steps = append(g.steps, step{statement: st, args: g.ids(rows).expected(rows).units(rows), row: func(row [][]byte) error {
		m := rows[number(row[0])-1]
		g.out[m.unit] = true
		if found := number(row[1]); row[1] != nil && g.found[m.unit] == nil {
			g.found[m.unit] = &driver.ConflictError{Collection: m.Collection, ID: m.ID, Expected: m.Expected, Found: found}
		}
		return nil
	}})
}

// write writes a collection's rows.
func (g *groupPlan) write(t *table, p *groupPart) {
	if rows := p.deletes; len(rows) > 0 {
		a := g.ids(rows).expected(rows).units(rows)
		if !t.desc.Disposable {
			a.versions(rows).sequences(rows)
		}
		g.steps = append(g.steps, step{statement: t.together.remove, args: a})
	}
	if rows := p.updates; len(rows) > 0 {
		a := g.columns(g.ids(rows).expected(rows), t, rows)
		g.steps = append(g.steps, step{statement: t.together.update, args: a})
	}
	rows := p.inserts
	if len(rows) == 0 {
		return
	}
	g.steps = append(g.steps, step{statement: t.together.insert, args: g.columns(g.ids(rows), t, rows)})
	if t.together.resume == nil {
		return
	}
	g.steps = append(g.steps, step{statement: t.together.resume, args: g.ids(rows).units(rows), row: func(row [][]byte) error {
		g.shifts = append(g.shifts, shift{t, string(row[0]), number(row[1]), number(row[2])})
		return nil
	}})
}

// columns appends all columns but the id, and the units.
func (g *groupPlan) columns(a *args, t *table, rows []member) *args {
	n := len(rows)
	a.versions(rows).sequences(rows)
	a.blobs(t.body, n, func(i int) []byte { return notNil(rows[i].Body) })
	for j, index := range t.desc.Indexes {
		a.indexValues(index.Kind, n, func(i int) driver.Value { return rows[i].Indexes[j] })
	}
	return a.units(rows)
}

// messages appends the messages, each unit's in their order.
func (g *groupPlan) messages() error {
	n := 0
	for _, r := range g.group {
		n += len(r.ChangeSet.Messages)
	}
	if n == 0 {
		return nil
	}
	all, units, graves, shifted := make([]*driver.Message, 0, n), make([]int, 0, n), make([]groupcommit.Row, n), false
	for unit, r := range g.group {
		for i := range r.ChangeSet.Messages {
			m, at := &r.ChangeSet.Messages[i], len(all)
			if collection, id, ok := g.store.grave(r.ChangeSet, m); ok {
				graves[at], shifted = groupcommit.Row{Collection: collection, ID: id}, true
			}
			all, units = append(all, m), append(units, unit)
		}
	}
	a := g.store.groupMem.newArgs().messages(all).ints(n, func(i int) int64 { return int64(units[i]) })
	if !shifted {
		g.given = g.store.newGiven(all)
		g.steps = append(g.steps, step{statement: g.store.sql.appendTogether, args: a})
		g.steps[len(g.steps)-1].giveTo(g.given)
		return nil
	}
	for _, part := range []func(c groupcommit.Row) string{func(c groupcommit.Row) string { return c.Collection }, func(c groupcommit.Row) string { return c.ID }} {
		a.array(pgtype.TextOID, n, func(b []byte, i int) ([]byte, bool) {
			return append(b, part(graves[i])...), graves[i].Collection != ""
		})
	}
	g.steps = append(g.steps, step{statement: g.store.sql.appendTogetherShifted, args: a})
	return nil
}

func (g *groupPlan) marks() {
	n := len(g.group)
	a := g.store.groupMem.newArgs().array(pgtype.UUIDOID, n, func(b []byte, i int) ([]byte, bool) { return appendKey(b, g.group[i].ChangeSet.Unit), true })
	a.ints(n, func(i int) int64 { return int64(i) })
	g.steps = append(g.steps, step{statement: g.store.sql.markTogether, args: a})
}

// inDoubt is the outcome of all units when the answer was lost.
func (g *groupPlan) inDoubt(err error) {
	for _, r := range g.group {
		r.Settle(fmt.Errorf("postgres: commit: %w: %w", driver.ErrInDoubt, err))
	}
}

// settle is the outcome of each unit after the commit.
func (g *groupPlan) settle() {
	appended, recent := false, g.given.keep(&g.store.recent) // before the units go on
	for unit, r := range g.group {
		switch {
		case g.found[unit] != nil:
			r.Settle(g.found[unit])
		case g.out[unit]: // alone it can wait, and gets an error of its own
			r.LeaveAlone()
		default:
			r.Settle(nil)
			appended = appended || len(r.ChangeSet.Messages) > 0
		}
	}
	for _, s := range g.shifts {
		t := g.parts[s.table.place].inserts
		if i, ok := slices.BinarySearchFunc(t, s.id, func(m member, id string) int { return strings.Compare(m.ID, id) }); ok {
			shiftWrite(g.group[t[i].unit].ChangeSet, s)
		}
	}
	if appended {
		g.store.wakes.appended(recent)
	}
}

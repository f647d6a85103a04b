package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/uow-go/uow/driver"
)

// about is what a step of a change set writes, for what its errors mean.
type about struct {
	table *table
	op    driver.Op // 0 for locks and checks
	// rows are the ones of the step: writes, and checks as writes without an Op.
	rows []*driver.Write
}

// plan is a change set as steps.
type plan struct {
	store *Store
	cs    *driver.ChangeSet
	steps []step
	// within says that the transaction's snapshot is older than the change set.
	within bool
	checks map[string][]*driver.Write // by collection, until they are planned
	locked bool                       // all existing rows are locked before
	shifts []shift
	mem    *arena // nil where there is none
	marked bool   // the unit's marker is written by one of the steps
	given  *given // to the messages; nil where nobody asks
}

// shift is what an inserted row goes on from.
type shift struct {
	table    *table
	id       string
	version  int64
	sequence int64
}

// few is the greatest number of rows that are updated by a statement each.
const few = 4

// plan makes the steps of a change set. Of each collection existing rows come
// first, deletes before updates and each in the order of ids, and then inserts,
// which is an order of locks that all units share.
func (s *Store) plan(cs *driver.ChangeSet, within bool, mem *arena) (*plan, error) {
	p := &plan{store: s, cs: cs, within: within, mem: mem, steps: mem.newSteps(len(cs.Writes) + 8)}
	if t := p.simple(); t != nil {
		p.updateAndAppend(t)
		return p, p.refusal()
	}
	for _, c := range cs.Checks {
		if p.checks == nil {
			p.checks = map[string][]*driver.Write{}
		}
		p.checks[c.Collection] = append(p.checks[c.Collection], &driver.Write{Collection: c.Collection, ID: c.ID, Expected: c.Version})
	}
	if p.locked = len(cs.Releases) > 0 || !inPlace(cs, s); p.locked {
		if err := p.lockAll(); err != nil {
			return nil, err
		}
	}
	if err := p.releases(); err != nil {
		return nil, err
	}
	for rest := cs.Writes; len(rest) > 0; {
		t, err := s.table(rest[0].Collection)
		if err != nil {
			return nil, err
		}
		n := p.run(t, rest)
		p.checkBefore(t.place)
		if err := p.collection(t, rest[:n]); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	p.checkBefore(len(s.listed))
	for collection := range p.checks {
		return nil, fmt.Errorf("postgres: collection %s is not registered", collection)
	}
	p.messages()
	p.countEvents()
	return p, p.refusal()
}

// refusal is why a value can't be sent.
func (p *plan) refusal() error {
	for i := range p.steps {
		if a := p.steps[i].args; a != nil && a.err != nil {
			return a.err
		}
	}
	return nil
}

// simple returns the collection of a change set that updates one row of it and appends
// one message, which is what most units do; nil for others.
func (p *plan) simple() *table {
	cs := p.cs
	if p.within || len(cs.Writes) != 1 || len(cs.Messages) != 1 || len(cs.Checks)+len(cs.Releases) > 0 || !cs.Messages[0].At.IsZero() {
		return nil
	}
	w := &cs.Writes[0]
	t := p.store.tables[w.Collection]
	if t == nil || t.mapped != nil || w.Op != driver.Update || len(w.Indexes) != len(t.desc.Indexes) {
		return nil
	}
	return t
}

// updateAndAppend plans such a change set, and the unit's marker, as one statement.
func (p *plan) updateAndAppend(t *table) {
	w, m := &p.cs.Writes[0], &p.cs.Messages[0]
	a := p.mem.newArgs(16 + len(w.Indexes))
	updated(a, w)
	a.message(m)
	p.mem.one[0], p.marked = w, true
	p.add(t.updateAndAppend, a.unit(p.cs.Unit), t, driver.Update, p.mem.one[:])
	p.giveTo(p.cs.Messages)
}

// snapshotServes reports whether the change set can be written in the transaction of
// the unit's reads, though it is older: the server refuses rows that have changed since,
// and there is nothing else that it would have to see.
func (p *plan) snapshotServes() bool {
	for i := range p.cs.Writes {
		if w := &p.cs.Writes[i]; w.Op != driver.Update || p.store.tables[w.Collection].apart() {
			return false
		}
	}
	return len(p.cs.Checks)+len(p.cs.Releases) == 0
}

func (p *plan) add(st *statement, a *args, t *table, op driver.Op, rows []*driver.Write) {
	p.steps = append(p.steps, step{statement: st, args: a, about: about{table: t, op: op, rows: rows}})
}

// checkBefore plans the checks of collections before a place that are not written.
func (p *plan) checkBefore(place int) {
	if len(p.checks) == 0 {
		return
	}
	for _, t := range p.store.listed[:place] {
		if rows := p.checks[t.desc.Name]; len(rows) > 0 {
			p.locking(t, t.share, rows)
			delete(p.checks, t.desc.Name)
		}
	}
}

func (p *plan) locking(t *table, st *statement, rows []*driver.Write) {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b *driver.Write) int { return strings.Compare(a.ID, b.ID) })
	p.add(st, ids(rows).ints(len(rows), func(i int) int64 { return rows[i].Expected }), t, 0, rows)
}

func ids(rows []*driver.Write) *args {
	return newArgs(len(rows)).texts(len(rows), func(i int) string { return rows[i].ID })
}

// collection plans writes of one collection.
func (p *plan) collection(t *table, writes []driver.Write) error {
	var deletes, updates, inserts []*driver.Write
	for i := range writes {
		w := &writes[i]
		if w.Op != driver.Delete && len(w.Indexes) != len(t.desc.Indexes) {
			return fmt.Errorf("postgres: %s/%s: the write has %d index values, want %d", w.Collection, w.ID, len(w.Indexes), len(t.desc.Indexes))
		}
		switch w.Op {
		case driver.Delete:
			deletes = append(deletes, w)
		case driver.Update:
			updates = append(updates, w)
		case driver.Insert:
			inserts = append(inserts, w)
		default:
			return fmt.Errorf("postgres: unknown operation %v", w.Op)
		}
	}
	checks := p.checks[t.desc.Name]
	delete(p.checks, t.desc.Name)
	oneByOne := t.unique || len(updates) <= few
	existing := slices.Concat(deletes, updates, checks)
	if !p.locked && (len(existing) > 1 && (len(deletes)+len(checks) > 0 || !oneByOne || t.mapped != nil) || len(checks) > 0) {
		p.locking(t, t.lock, existing)
	}
	if len(deletes) > 0 {
		p.remove(t, deletes)
	}
	switch {
	case oneByOne:
		for i := range updates {
			p.updateOne(t, updates[i:i+1])
		}
	default:
		p.updateMany(t, updates)
	}
	if len(inserts) > 0 {
		p.insert(t, inserts)
	}
	return nil
}

func (p *plan) remove(t *table, rows []*driver.Write) {
	a := ids(rows).ints(len(rows), func(i int) int64 { return rows[i].Expected })
	if !t.desc.Disposable {
		a.ints(len(rows), func(i int) int64 { return rows[i].Version })
		a.ints(len(rows), func(i int) int64 { return rows[i].Sequence })
	}
	p.add(t.remove, a, t, driver.Delete, rows)
}

func (p *plan) updateOne(t *table, row []*driver.Write) {
	a := p.mem.newArgs(5 + len(row[0].Indexes))
	updated(a, row[0])
	p.add(t.updateOne, a, t, driver.Update, row)
}

func updated(a *args, w *driver.Write) {
	a.text(w.ID).int(w.Expected).int(w.Version).int(w.Sequence).bytes(notNil(w.Body))
	for _, v := range w.Indexes {
		a.value(v)
	}
}

func (p *plan) updateMany(t *table, rows []*driver.Write) {
	a := ids(rows).ints(len(rows), func(i int) int64 { return rows[i].Expected })
	p.add(t.updateMany, columnsOf(a, t, rows), t, driver.Update, rows)
}

// columnsOf appends all columns but the id, as arrays.
func columnsOf(a *args, t *table, rows []*driver.Write) *args {
	n := len(rows)
	a.ints(n, func(i int) int64 { return rows[i].Version })
	a.ints(n, func(i int) int64 { return rows[i].Sequence })
	a.blobs(t.body, n, func(i int) []byte { return notNil(rows[i].Body) })
	for j, index := range t.desc.Indexes {
		a.indexValues(index.Kind, n, func(i int) driver.Value { return rows[i].Indexes[j] })
	}
	return a
}

func (p *plan) insert(t *table, rows []*driver.Write) {
	if t.unique || len(rows) == 1 {
		for i, w := range rows {
			a := p.mem.newArgs(4 + len(w.Indexes)).text(w.ID).int(w.Version).int(w.Sequence).bytes(notNil(w.Body))
			for _, v := range w.Indexes {
				a.value(v)
			}
			p.add(t.insertOne, a, t, driver.Insert, rows[i:i+1])
		}
	} else {
		p.add(t.insertMany, columnsOf(ids(rows), t, rows), t, driver.Insert, rows)
	}
	if t.resume == nil {
		return
	}
	if p.within { // after the rows, as a removal does it: units lock both in one order
		p.add(t.probe, ids(rows), t, driver.Insert, rows)
		p.add(t.unprobe, ids(rows), t, driver.Insert, rows)
	}
	p.add(t.resume, ids(rows), t, driver.Insert, rows)
	p.steps[len(p.steps)-1].row = func(row [][]byte) error {
		p.shifts = append(p.shifts, shift{t, string(row[0]), number(row[1]), number(row[2])})
		return nil
	}
}

// notNil keeps an empty body from becoming NULL.
func notNil(body []byte) []byte {
	if body == nil {
		return []byte{}
	}
	return body
}

// adjust tells the change set how inserts of rows that were deleted before have
// gone on.
func (p *plan) adjust() error {
	for _, s := range p.shifts {
		if !shiftWrite(p.cs, s) {
			return errors.New("postgres: a row that was not inserted went on")
		}
	}
	p.shifts = nil
	return nil
}

// shiftWrite lets an insert go on. It returns false when there is none.
func shiftWrite(cs *driver.ChangeSet, s shift) bool {
	i := slices.IndexFunc(cs.Writes, func(w driver.Write) bool {
		return w.ID == s.id && w.Collection == s.table.desc.Name && w.Op == driver.Insert
	})
	if i < 0 {
		return false
	}
	cs.Writes[i].Version += s.version
	cs.Writes[i].Sequence += s.sequence
	for j := range cs.Messages {
		if m := &cs.Messages[j]; m.Write == i+1 {
			m.Sequence += s.sequence
		}
	}
	return true
}

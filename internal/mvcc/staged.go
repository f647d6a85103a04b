package mvcc

import (
	"bytes"
	"maps"
	"slices"

	"github.com/uow-go/uow/driver"
)

// key names a row.
type key struct{ collection, id string }

// value names a value of a unique index.
type value struct {
	collection string
	index      int
	v          any
}

// staged is what a transaction has flushed, and at its end what it commits.
type staged struct {
	rows map[key]state
	// order has the keys of rows in the order of their first write.
	order []key
	// bases are the newest states that rows and checks were based on. A commit
	// is refused when one of them is not the newest any more.
	bases    map[key]state
	holders  map[value]string
	released map[value]bool // values that rows have given up
	messages []driver.Message
}

// clone returns a copy that shares nothing that changes.
func (g *staged) clone() staged {
	return staged{
		rows:     maps.Clone(g.rows),
		order:    slices.Clone(g.order),
		bases:    maps.Clone(g.bases),
		holders:  maps.Clone(g.holders),
		released: maps.Clone(g.released),
		messages: slices.Clone(g.messages),
	}
}

// add applies a change set to what is staged. After an error the rest is of no
// use. The store is locked.
func (g *staged) add(s *Store, cs *driver.ChangeSet) error {
	if g.rows == nil {
		g.rows, g.bases, g.holders, g.released = map[key]state{}, map[key]state{}, map[value]string{}, map[value]bool{}
	}
	for _, r := range cs.Ranges {
		if err := g.checkRange(s, r); err != nil {
			return err
		}
	}
	for _, r := range cs.Releases {
		if err := g.release(s, r); err != nil {
			return err
		}
	}
	shifts := make([]int64, len(cs.Writes))
	for i := range cs.Writes {
		shift, err := g.write(s, &cs.Writes[i])
		if err != nil {
			return err
		}
		shifts[i] = shift
	}
	for _, c := range cs.Checks {
		if err := g.check(s, c); err != nil {
			return err
		}
	}
	for _, m := range cs.Messages {
		m = copyMessage(m)
		if m.Write > 0 {
			m.Sequence += shifts[m.Write-1]
		}
		m.Write = 0
		g.messages = append(g.messages, m)
	}
	return nil
}

// current returns the newest state of a row, staged or committed.
func (g *staged) current(t *table, k key) state {
	if s, ok := g.rows[k]; ok {
		return s
	}
	newest := t.newest(k.id)
	if _, known := g.bases[k]; !known {
		g.bases[k] = newest
	}
	return newest
}

// write stages one row. shift is what the sequences of its messages grow by,
// where an insert goes on from a deleted row.
func (g *staged) write(s *Store, w *driver.Write) (shift int64, err error) {
	t, err := s.table(w.Collection)
	if err != nil {
		return 0, err
	}
	if w.Op != driver.Delete && len(w.Indexes) != len(t.desc.Indexes) {
		return 0, s.errorf("%s of %s/%s has %d index values, not %d", w.Op, w.Collection, w.ID, len(w.Indexes), len(t.desc.Indexes))
	}
	k := key{w.Collection, w.ID}
	old := g.current(t, k)
	if found := old.version(); found != w.Expected {
		return 0, &driver.ConflictError{Collection: w.Collection, ID: w.ID, Expected: w.Expected, Found: found}
	}
	if w.Op == driver.Insert {
		shift = old.row.Sequence
		w.Version = old.row.Version + 1
		w.Sequence += shift
	}
	next := state{
		row:     driver.Row{ID: w.ID, Version: w.Version, Sequence: w.Sequence, Body: bytes.Clone(w.Body)},
		indexes: copyValues(w.Indexes),
		deleted: w.Op == driver.Delete,
	}
	if next.deleted {
		next.row.Body, next.indexes = nil, nil
	}
	if _, known := g.rows[k]; !known {
		g.order = append(g.order, k)
	}
	g.rows[k] = next
	return shift, g.hold(t, k, old, next)
}

// hold moves the values of unique indexes from a row's old state to its new one.
func (g *staged) hold(t *table, k key, old, next state) error {
	for i, v := range old.indexes {
		if at := (value{k.collection, i, mapKey(v)}); g.holders[at] == k.id {
			delete(g.holders, at)
		}
	}
	for i, v := range next.indexes {
		if t.holders[i] == nil || v == nil {
			continue
		}
		at := value{k.collection, i, mapKey(v)}
		if holder, taken := g.holder(t, at); taken && holder != k.id {
			return &driver.DuplicateError{Collection: k.collection, ID: k.id, Index: t.desc.Indexes[i].Name}
		}
		g.holders[at] = k.id
	}
	return nil
}

// holder returns the row that has a value of a unique index: a staged one, or a
// committed one that is not staged with another value.
func (g *staged) holder(t *table, at value) (id string, ok bool) {
	if id, ok = g.holders[at]; ok {
		return id, true
	}
	id, ok = t.holders[at.index][at.v]
	if _, restaged := g.rows[key{at.collection, id}]; restaged || g.released[at] {
		return "", false
	}
	return id, ok
}

// release lets a row's value of a unique index go.
func (g *staged) release(s *Store, r driver.Release) error {
	t, err := s.table(r.Collection)
	if err != nil {
		return err
	}
	if r.Index < 0 || r.Index >= len(t.desc.Indexes) {
		return s.errorf("%s/%s has no index %d to release", r.Collection, r.ID, r.Index)
	}
	old := g.current(t, key{r.Collection, r.ID})
	if r.Index < len(old.indexes) { // there is a row
		at := value{r.Collection, r.Index, mapKey(old.indexes[r.Index])}
		delete(g.holders, at)
		g.released[at] = true
	}
	return nil
}

// checkRange asks again what the transaction has asked before, of the newest rows.
func (g *staged) checkRange(s *Store, r driver.Range) error {
	t, err := s.table(r.Collection)
	if err != nil {
		return err
	}
	var own []string
	for k := range g.rows {
		if k.collection == r.Collection {
			own = append(own, k.id)
		}
	}
	q, want := r.Again(own)
	var hits []state
	for id := range t.rows {
		if s := t.newest(id); !s.deleted && q.Match(t.desc, id, s.indexes) {
			hits = append(hits, s)
		}
	}
	got := make([]driver.RowVersion, 0, len(hits))
	for _, s := range t.first(q, hits) {
		got = append(got, driver.RowVersion{ID: s.row.ID, Version: s.row.Version})
	}
	return r.Differs(want, got)
}

func (g *staged) check(s *Store, c driver.Check) error {
	t, err := s.table(c.Collection)
	if err != nil {
		return err
	}
	if found := g.current(t, key{c.Collection, c.ID}).version(); found != c.Version {
		return &driver.ConflictError{Collection: c.Collection, ID: c.ID, Expected: c.Version, Found: found}
	}
	return nil
}

// recheck compares what was flushed with what others have committed since. The
// store is locked.
func (g *staged) recheck(s *Store) error {
	for _, k := range slices.SortedFunc(maps.Keys(g.bases), compareKeys) {
		t, err := s.table(k.collection)
		if err != nil {
			return err
		}
		base, newest := g.bases[k], t.newest(k.id)
		if newest.commit != base.commit {
			return &driver.ConflictError{Collection: k.collection, ID: k.id, Expected: base.version(), Found: newest.version()}
		}
	}
	for _, k := range g.order {
		if err := g.recheckUnique(s.tables[k.collection], k); err != nil {
			return err
		}
	}
	return nil
}

func (g *staged) recheckUnique(t *table, k key) error {
	for i, v := range g.rows[k].indexes {
		if t.holders[i] == nil || v == nil {
			continue
		}
		holder, taken := t.holders[i][mapKey(v)]
		if _, restaged := g.rows[key{k.collection, holder}]; taken && !restaged {
			return &driver.DuplicateError{Collection: k.collection, ID: k.id, Index: t.desc.Indexes[i].Name}
		}
	}
	return nil
}

// apply makes what is staged the newest state, which snapshots do not see yet. The
// store is locked.
func (g *staged) apply(s *Store) {
	if len(g.order) > 0 {
		s.commits++
	}
	for _, k := range g.order { // values may move between rows: let go of all first
		t := s.tables[k.collection]
		t.release(t.newest(k.id))
	}
	for _, k := range g.order {
		t, next := s.tables[k.collection], g.rows[k]
		next.commit = s.commits
		t.hold(k.id, next)
		if r := t.put(k.id, next); r != nil {
			s.garbage = append(s.garbage, garbage{commit: s.commits, table: t, id: k.id, record: r})
		}
	}
}

// undo takes back what apply did, of which everything else is in its place. The
// store is locked.
func (g *staged) undo(s *Store) {
	for _, k := range g.order {
		t := s.tables[k.collection]
		t.release(t.newest(k.id))
	}
	for _, k := range g.order {
		s.tables[k.collection].pop(k.id)
	}
	for _, k := range g.order {
		t := s.tables[k.collection]
		t.hold(k.id, t.newest(k.id))
	}
}

package uow

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/uow-go/uow/driver"
)

// node is what a unit knows of one aggregate, whatever its type.
type node struct {
	collection string
	id         string
	version    int64 // 0: no row as far as the unit knows
	sequence   int64
	image      image // as loaded or flushed
	mapped     bool  // to a Table
	added      bool  // by this unit
	flushed    bool  // since it was loaded
	removed    bool
	recorded   int   // events recorded since the last flush
	numbered   int64 // the sequence of the last of them that was given one
	required   bool  // the version is to be checked although nothing changed
	write      int   // one more than the place of its write in the change set
}

// wrote takes over what the store now has.
func (n *node) wrote(w *driver.Write) {
	n.version, n.sequence, n.image = w.Version, w.Sequence, image{body: w.Body}
	if n.mapped {
		n.image.columns = w.Indexes
	}
	n.recorded, n.write, n.flushed = 0, 0, true
	if w.Op == driver.Delete { // the store remembers where an insert goes on
		n.version, n.sequence = 0, 0
	}
}

// entry is an aggregate in the identity map.
type entry[T any] struct {
	node
	value  *T
	loaded *T // a copy of what the store has; nil where there is none
}

// identityMap has the aggregates of one collection that a unit has met, each
// once.
type identityMap[T any] struct {
	unit       *Unit
	collection *Collection[T]
	group      group
	entries    entries[T]
	one        [1]string           // the ids of a read of one
	absent     map[string]struct{} // looked for in vain, in a serializable unit
	err        error               // why the collection can't be used
}

// missed notes ids that were looked for in vain.
func (m *identityMap[T]) missed(ids []string) {
	if !m.unit.options.Serializable {
		return
	}
	for _, id := range ids {
		if _, known := m.entries.get(id); !known {
			if m.absent == nil {
				m.absent = map[string]struct{}{}
			}
			m.absent[id] = struct{}{}
		}
	}
}

func (m *identityMap[T]) put(e *entry[T]) {
	if _, known := m.entries.get(e.id); !known {
		m.entries.add(e)
	}
	if r, ok := any(e.value).(Recorder); ok && !m.unit.options.ReadOnly {
		r.RecordedEvents().attach(m.unit, &e.node)
	}
}

// load makes an aggregate of a row, or returns the one that the unit has
// already; nil when the unit has removed it.
func (m *identityMap[T]) load(row driver.Row) (*entry[T], error) {
	if e, ok := m.entries.get(row.ID); ok {
		return e, nil
	}
	e := m.newEntry()
	e.node = m.newNode(row.ID)
	e.version, e.sequence, e.image = row.Version, row.Sequence, image{body: row.Body, columns: row.Indexes}
	if err := m.collection.restoreTo(e.value, row.ID, e.image); err != nil {
		return nil, err
	}
	if id := m.collection.id(e.value); id != row.ID {
		return nil, fmt.Errorf("uow: %s/%s: the aggregate in this row says that its id is %q", m.collection.desc.Name, row.ID, id)
	}
	if e.loaded != nil {
		m.collection.copier.copy(reflect.ValueOf(e.loaded).Elem(), reflect.ValueOf(e.value).Elem())
	}
	m.put(e)
	return e, nil
}

// unchanged reports whether an aggregate is known to be as it was loaded.
func (m *identityMap[T]) unchanged(e *entry[T]) bool {
	return e.loaded != nil && !e.flushed && m.collection.copier.equal(reflect.ValueOf(e.value).Elem(), reflect.ValueOf(e.loaded).Elem())
}

// newEntry makes an entry with its values, at once. Among few, encoding is as cheap as
// keeping a copy.
func (m *identityMap[T]) newEntry() *entry[T] {
	if m.collection.copier == nil || m.unit.options.ReadOnly || m.entries.byID == nil {
		made := &struct {
			entry entry[T]
			value T
		}{}
		made.entry.value = &made.value
		return &made.entry
	}
	made := &struct {
		entry         entry[T]
		value, loaded T
	}{}
	made.entry.value, made.entry.loaded = &made.value, &made.loaded
	return &made.entry
}

func (m *identityMap[T]) newNode(id string) node {
	return node{collection: m.collection.desc.Name, id: id, mapped: m.collection.table != nil}
}

func (m *identityMap[T]) detach() {
	for _, e := range m.entries.list {
		detach(e.value)
	}
}

func detach[T any](value *T) {
	if r, ok := any(value).(Recorder); ok {
		r.RecordedEvents().detach()
	}
}

func (m *identityMap[T]) changes(d *difference) error {
	first := len(d.changes)
	reads := m.unit.options.Serializable
	encoder := m.collection.encoder()
	for i, e := range m.entries.list {
		encoder.last = i == len(m.entries.list)-1
		changed, err := m.change(e, encoder, d)
		if err != nil {
			return err
		}
		switch {
		case changed:
		case e.removed || e.version == 0:
		case e.required:
			d.checks = append(d.checks, driver.Check{Collection: e.collection, ID: e.id, Version: e.version})
		case reads:
			d.reads = append(d.reads, driver.Check{Collection: e.collection, ID: e.id, Version: e.version})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.absent)) {
		if _, known := m.entries.get(id); !known {
			d.reads = append(d.reads, driver.Check{Collection: m.collection.desc.Name, ID: id})
		}
	}
	if m.collection.unique && len(d.changes)-first > 1 {
		releases, err := m.releases(d.changes[first:])
		d.releases = append(d.releases, releases...)
		return err
	}
	return nil
}

// difference is what a unit has that the store has not, in the making.
type difference struct {
	changes  []change
	releases []driver.Release
	checks   []driver.Check
	reads    []driver.Check // what a serializable unit has only read
}

// change adds the write that brings the store up to the aggregate, if there is one.
func (m *identityMap[T]) change(e *entry[T], encoder *encoder[T], d *difference) (changed bool, err error) {
	if e.removed {
		if e.version == 0 {
			return false, nil
		}
		c := m.newChange(e, d)
		c.write.Op = driver.Delete
		return true, m.refersBefore(c, e)
	}
	if id := m.collection.id(e.value); id != e.id {
		return false, fmt.Errorf("uow: %s/%s: the aggregate's id was changed to %q", e.collection, e.id, id)
	}
	if e.version > 0 && e.recorded == 0 && m.unchanged(e) {
		return false, nil
	}
	now, err := encoder.capture(e.value, len(e.image.body))
	if err != nil {
		return false, err
	}
	if e.version > 0 && e.recorded == 0 {
		same, err := m.same(e, now)
		if same || err != nil {
			return false, err
		}
	}
	c := m.newChange(e, d)
	now = encoder.keep(now)
	c.write.Op, c.write.Body, c.write.Indexes = driver.Update, now.body, now.columns
	if e.version == 0 {
		c.write.Op = driver.Insert
		if m.group.cyclic {
			c.refers = m.collection.refersAt(e.value)
		}
	}
	if m.collection.table == nil {
		c.write.Indexes, err = m.collection.indexes(e.value)
	}
	return true, err
}

func (m *identityMap[T]) newChange(e *entry[T], d *difference) *change {
	d.changes = append(d.changes, change{node: &e.node, group: m.group, write: driver.Write{
		Collection: e.collection,
		ID:         e.id,
		Expected:   e.version,
		Version:    e.version + 1,
		Sequence:   e.sequence + int64(e.recorded),
	}})
	return &d.changes[len(d.changes)-1]
}

// refersBefore notes what a removed aggregate refers to in the store.
func (m *identityMap[T]) refersBefore(c *change, e *entry[T]) error {
	if !m.group.cyclic {
		return nil
	}
	before, err := m.collection.restore(e.id, e.image)
	if err == nil {
		c.refers = m.collection.refersAt(before)
	}
	return err
}

// same reports whether an aggregate is as it was loaded. Where the encodings
// differ, the loaded one may only have been written by an older program, or have
// been rearranged by the database: what counts is what it encodes to today.
func (m *identityMap[T]) same(e *entry[T], now image) (bool, error) {
	if now.equal(e.image) {
		return true, nil
	}
	loaded, err := m.collection.restore(e.id, e.image)
	if err != nil {
		return false, err
	}
	canonical, err := m.collection.capture(loaded)
	return err == nil && now.equal(canonical), err
}

// changeSet collects what differs from the store: writes in the order that
// references demand, messages in the order in which they were recorded.
// written has the node of each write.
func (u *Unit) changeSet() (cs *driver.ChangeSet, written []*node, err error) {
	made := &struct { // at once, for most units
		cs       driver.ChangeSet
		d        difference
		changes  [1]change
		writes   [1]driver.Write
		written  [1]*node
		messages [1]driver.Message
	}{}
	d := &made.d
	d.changes = made.changes[:0]
	for _, s := range u.sets {
		if s == nil {
			continue
		}
		if err := s.changes(d); err != nil {
			return nil, nil, err
		}
	}
	changes := d.changes
	if err := sortChanges(changes); err != nil {
		return nil, nil, err
	}
	cs = &made.cs
	*cs = driver.ChangeSet{Unit: u.id, At: u.now, Releases: d.releases, Checks: d.checks}
	if u.options.Serializable && (u.wrote || len(changes) > 0 || len(u.pending) > 0) {
		// One that has only read is serializable by its snapshot.
		cs.Checks, cs.Ranges = append(cs.Checks, d.reads...), u.ranges
	}
	if len(changes) > 0 {
		cs.Writes, written = sized(made.writes[:], len(changes)), sized(made.written[:], len(changes))
	}
	for i := range changes {
		cs.Writes[i], written[i] = changes[i].write, changes[i].node
		written[i].write = i + 1
	}
	if len(u.pending) == 0 {
		return cs, written, nil
	}
	u.pending = slices.DeleteFunc(u.pending, neverExisted)
	cs.Messages = sized(made.messages[:], len(u.pending))
	for i := range u.pending {
		if err := u.pending[i].encode(u, &cs.Messages[i]); err != nil {
			return nil, nil, err
		}
	}
	u.watch.address(cs.Messages)
	u.number(cs)
	return cs, written, nil
}

// sized returns room for n, which is the room that there is where it is enough.
func sized[E any](room []E, n int) []E {
	if n <= len(room) {
		return room[:n]
	}
	return make([]E, n)
}

// neverExisted reports whether an event is of an aggregate that the unit added
// and removed again. Such an event does not count.
func neverExisted(p pendingMessage) bool {
	if p.source == nil || !p.source.removed || p.source.version > 0 || p.source.write > 0 {
		return false
	}
	p.source.recorded = 0
	return true
}

// number gives the messages of aggregates their places in their streams.
func (u *Unit) number(cs *driver.ChangeSet) {
	for _, p := range u.pending {
		if p.source != nil {
			p.source.numbered = p.source.sequence
		}
	}
	for i, p := range u.pending {
		if p.source == nil {
			continue
		}
		p.source.numbered++
		cs.Messages[i].Sequence = p.source.numbered
		cs.Messages[i].Write = p.source.write
	}
}

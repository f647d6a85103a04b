package uow

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/uow-go/uow/driver"
)

// node is what a unit knows of one aggregate, whatever its type.
type node struct {
	collection string
	id         string
	version    int64 // 0: no row as far as the unit knows
	sequence   int64
	body       []byte // as loaded or flushed
	removed    bool
	recorded   int  // events recorded since the last flush
	required   bool // the version is to be checked although nothing changed
	write      int  // one more than the place of its write in the change set
}

// flushed takes over what the store now has.
func (n *node) flushed(w *driver.Write) {
	n.version, n.sequence, n.body = w.Version, w.Sequence, w.Body
	n.recorded, n.write = 0, 0
	if w.Op == driver.Delete { // the store remembers where an insert goes on
		n.version, n.sequence = 0, 0
	}
}

// entry is an aggregate in the identity map.
type entry[T any] struct {
	node
	value *T
}

// identityMap has the aggregates of one collection that a unit has met, each
// once.
type identityMap[T any] struct {
	unit       *Unit
	collection *Collection[T]
	entries    map[string]*entry[T]
	order      []*entry[T] // as they came
	err        error       // why the collection can't be used
}

func (m *identityMap[T]) put(e *entry[T]) {
	if m.entries == nil {
		m.entries = make(map[string]*entry[T])
	}
	if _, known := m.entries[e.id]; !known {
		m.order = append(m.order, e)
	}
	m.entries[e.id] = e
	if r, ok := any(e.value).(Recorder); ok {
		r.RecordedEvents().attach(m.unit, &e.node)
	}
}

// load makes an aggregate of a row, or returns the one that the unit has
// already; nil when the unit has removed it.
func (m *identityMap[T]) load(row driver.Row) (*entry[T], error) {
	if e, ok := m.entries[row.ID]; ok {
		return e, nil
	}
	value := new(T)
	if err := m.collection.codec.Decode(row.Body, value); err != nil {
		return nil, fmt.Errorf("uow: %s/%s: decode: %w", m.collection.desc.Name, row.ID, err)
	}
	e := &entry[T]{value: value, node: node{
		collection: m.collection.desc.Name,
		id:         row.ID,
		version:    row.Version,
		sequence:   row.Sequence,
		body:       row.Body,
	}}
	if id := m.collection.id(value); id != row.ID {
		return nil, fmt.Errorf("uow: %s/%s: the aggregate in this row says that its id is %q", m.collection.desc.Name, row.ID, id)
	}
	m.put(e)
	return e, nil
}

func (m *identityMap[T]) detach() {
	for _, e := range m.order {
		detach(e.value)
	}
}

func detach[T any](value *T) {
	if r, ok := any(value).(Recorder); ok {
		r.RecordedEvents().detach()
	}
}

func (m *identityMap[T]) changes(cs *driver.ChangeSet, written *[]*node) error {
	first := len(cs.Writes)
	for _, e := range m.order {
		w, err := m.change(e)
		if err != nil {
			return err
		}
		switch {
		case w != nil:
			cs.Writes = append(cs.Writes, *w)
			*written = append(*written, &e.node)
		case e.required && !e.removed:
			cs.Checks = append(cs.Checks, driver.Check{Collection: e.collection, ID: e.id, Version: e.version})
		}
	}
	sortWrites(cs.Writes[first:], (*written)[first:])
	for i := first; i < len(cs.Writes); i++ {
		(*written)[i].write = i + 1
	}
	return nil
}

// change returns the write that brings the store up to the aggregate, or nil.
func (m *identityMap[T]) change(e *entry[T]) (*driver.Write, error) {
	w := driver.Write{
		Collection: e.collection,
		ID:         e.id,
		Expected:   e.version,
		Version:    e.version + 1,
		Sequence:   e.sequence + int64(e.recorded),
	}
	if e.removed {
		if e.version == 0 {
			return nil, nil
		}
		w.Op = driver.Delete
		return &w, nil
	}
	if id := m.collection.id(e.value); id != e.id {
		return nil, fmt.Errorf("uow: %s/%s: the aggregate's id was changed to %q", e.collection, e.id, id)
	}
	body, err := m.collection.codec.Encode(e.value)
	if err != nil {
		return nil, fmt.Errorf("uow: %s/%s: encode: %w", e.collection, e.id, err)
	}
	if e.version > 0 && e.recorded == 0 {
		same, err := m.same(e, body)
		if same || err != nil {
			return nil, err
		}
	}
	w.Op, w.Body = driver.Update, body
	if e.version == 0 {
		w.Op = driver.Insert
	}
	w.Indexes, err = m.collection.indexes(e.value)
	return &w, err
}

// same reports whether an aggregate is as it was loaded. Where the encodings
// differ, the loaded one may only have been written by an older program, or have
// been rearranged by the database: what counts is what it encodes to today.
func (m *identityMap[T]) same(e *entry[T], body []byte) (bool, error) {
	if bytes.Equal(body, e.body) {
		return true, nil
	}
	loaded := new(T)
	if err := m.collection.codec.Decode(e.body, loaded); err != nil {
		return false, fmt.Errorf("uow: %s/%s: decode: %w", e.collection, e.id, err)
	}
	canonical, err := m.collection.codec.Encode(loaded)
	if err != nil {
		return false, fmt.Errorf("uow: %s/%s: encode: %w", e.collection, e.id, err)
	}
	return bytes.Equal(body, canonical), nil
}

// sortWrites puts the rows of one collection into the order that is the same in
// every unit: rows that go first, which frees their unique values, then by id.
func sortWrites(writes []driver.Write, nodes []*node) {
	if len(writes) < 2 {
		return
	}
	order := make([]int, len(writes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if x, y := writes[a].Op == driver.Delete, writes[b].Op == driver.Delete; x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(writes[a].ID, writes[b].ID)
	})
	w, n := slices.Clone(writes), slices.Clone(nodes)
	for to, from := range order {
		writes[to], nodes[to] = w[from], n[from]
	}
}

// changeSet collects what differs from the store: writes in the order of
// Config.Collections, messages in the order in which they were recorded.
// written has the node of each write.
func (u *Unit) changeSet() (cs *driver.ChangeSet, written []*node, err error) {
	cs = &driver.ChangeSet{Unit: u.id, At: u.now}
	for _, s := range u.sets {
		if s == nil {
			continue
		}
		if err := s.changes(cs, &written); err != nil {
			return nil, nil, err
		}
	}
	if len(u.pending) == 0 {
		return cs, written, nil
	}
	u.pending = slices.DeleteFunc(u.pending, neverExisted)
	cs.Messages = make([]driver.Message, len(u.pending))
	for i := range u.pending {
		p := &u.pending[i]
		if err := p.encode(u); err != nil {
			return nil, nil, err
		}
		cs.Messages[i] = p.message
	}
	u.watch.address(cs.Messages)
	u.number(cs)
	return cs, written, nil
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
	next := map[*node]int64{}
	for i, p := range u.pending {
		if p.source == nil {
			continue
		}
		if _, ok := next[p.source]; !ok {
			next[p.source] = p.source.sequence
		}
		next[p.source]++
		cs.Messages[i].Sequence = next[p.source]
		cs.Messages[i].Write = p.source.write
	}
}

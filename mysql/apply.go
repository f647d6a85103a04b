package mysql

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
)

// plan is a change set on its way to the server.
type plan struct {
	store  *Store
	cs     *driver.ChangeSet
	shifts []shift
	// together says that the plan is a group's, which does not wait for rows, and
	// locked that it has them already.
	together, locked bool
}

// shift is what an inserted row goes on from.
type shift struct {
	table    *table
	id       string
	version  int64
	sequence int64
}

const (
	few  = 4   // the greatest number of rows that are updated by a statement each
	many = 100 // the greatest number that one statement updates
)

// plan checks what would be a mistake of the caller's.
func (s *Store) plan(cs *driver.ChangeSet) (*plan, error) {
	for i := range cs.Writes {
		w := &cs.Writes[i]
		t, err := s.table(w.Collection)
		switch {
		case err != nil:
			return nil, err
		case w.Op < driver.Insert || w.Op > driver.Delete:
			return nil, fmt.Errorf("mysql: unknown operation %v", w.Op)
		case w.Op != driver.Delete && len(w.Indexes) != len(t.columns):
			return nil, fmt.Errorf("mysql: %s/%s: the write has %d index values, want %d", w.Collection, w.ID, len(w.Indexes), len(t.columns))
		}
	}
	for _, c := range cs.Checks {
		if _, err := s.table(c.Collection); err != nil {
			return nil, err
		}
	}
	for _, r := range cs.Releases {
		if t, err := s.table(r.Collection); err != nil {
			return nil, err
		} else if r.Index < 0 || r.Index >= len(t.columns) {
			return nil, fmt.Errorf("mysql: %s/%s: there is no index %d to release", r.Collection, r.ID, r.Index)
		}
	}
	return &plan{store: s, cs: cs}, nil
}

// writes appends the statements of everything but the messages. Existing rows are
// locked in the order that all units share: by the writes themselves where they have
// it, and before them otherwise.
func (p *plan) writes(s *script) {
	if !p.locked && (p.together || len(p.cs.Checks) > 0 || len(p.cs.Releases) > 0 || !p.inOrder()) {
		p.locks(s)
	}
	for _, r := range p.cs.Releases {
		t := p.store.tables[r.Collection]
		t.id(s.add("UPDATE ", t.name, " SET ", t.columns[r.Index], " = NULL WHERE ", t.key, " = "), r.ID).end()
	}
	for rest := p.cs.Writes; len(rest) > 0; {
		n, t := 1, p.store.tables[rest[0].Collection]
		for n < len(rest) && rest[n].Collection == rest[0].Collection && rest[n].Op == rest[0].Op {
			n++
		}
		rows := make([]*driver.Write, n)
		for i := range rows {
			rows[i] = &rest[i]
		}
		rest = rest[n:]
		switch rows[0].Op {
		case driver.Insert:
			p.insert(s, t, rows)
		case driver.Update:
			p.update(s, t, rows)
		case driver.Delete:
			p.remove(s, t, rows)
		}
	}
	p.counts(s)
}

// lockNoGaps reports whether the statements lock rows by their keys one by one, and so
// lock no more at REPEATABLE READ than at READ COMMITTED.
func (p *plan) lockNoGaps() bool {
	return len(p.cs.Writes) <= few && len(p.cs.Checks)+len(p.cs.Releases) == 0 && p.inOrder() &&
		!slices.ContainsFunc(p.cs.Writes, func(w driver.Write) bool {
			return w.Op != driver.Update || p.store.tables[w.Collection].desc.Table != nil
		})
}

// compare orders rows in the order in which all units lock them.
func (p *plan) compare(a, b *driver.Write) int {
	if n := cmp.Compare(p.store.tables[a.Collection].place, p.store.tables[b.Collection].place); n != 0 {
		return n
	}
	return strings.Compare(a.ID, b.ID)
}

// existing returns the rows that are there before the change set, as far as it knows.
func (p *plan) existing() []*driver.Write {
	rows := make([]*driver.Write, 0, len(p.cs.Writes)+len(p.cs.Checks))
	for i := range p.cs.Writes {
		if w := &p.cs.Writes[i]; w.Op != driver.Insert {
			rows = append(rows, w)
		}
	}
	return rows
}

func (p *plan) inOrder() bool { return slices.IsSortedFunc(p.existing(), p.compare) }

// locks locks rows, and demands that they have their versions.
func (p *plan) locks(s *script) {
	rows := p.existing()
	for _, c := range p.cs.Checks {
		rows = append(rows, &driver.Write{Collection: c.Collection, ID: c.ID, Expected: c.Version})
	}
	slices.SortFunc(rows, p.compare)
	for len(rows) > 0 {
		n, mode := 0, forShare
		for n < len(rows) && rows[n].Collection == rows[0].Collection && (rows[n].Expected > 0) == (rows[0].Expected > 0) {
			if rows[n].Op != 0 {
				mode = forUpdate
			}
			n++
		}
		if p.together {
			mode = forUpdate + skipLocked
		}
		t := p.store.tables[rows[0].Collection]
		in(rows[:n], func(part []*driver.Write) { p.lock(s, t, part, mode) })
		rows = rows[n:]
	}
}

// lock locks rows of one collection, all of which are expected, or none.
func (p *plan) lock(s *script, t *table, rows []*driver.Write, mode string) {
	if rows[0].Expected == 0 {
		s.add("SELECT ", most, "(COUNT(*) <> 0) FROM ", t.name)
		t.whereIDs(s, idsOf(rows))
	} else {
		s.add("SELECT ", most, "(COUNT(*) <> ").int(int64(len(rows))).add(") FROM ", t.name, t.keyed())
		t.whereVersions(s, rows)
	}
	s.add(mode).query(nil)
}

func idsOf(rows []*driver.Write) []string {
	list := make([]string, len(rows))
	for i, w := range rows {
		list[i] = w.ID
	}
	return list
}

// body appends a body.
func (t *table) body(s *script, w *driver.Write) *script {
	switch {
	case !t.text && len(w.Body) > 0:
		return s.bytes(w.Body)
	case !utf8.Valid(w.Body):
		s.fail(fmt.Errorf("%w: the body of %s/%s is not UTF-8, and needs Options.Bodies = Bytes", ErrText, w.Collection, w.ID))
	}
	return s.quoted(string(w.Body))
}

func (p *plan) remove(s *script, t *table, rows []*driver.Write) {
	size := bunch
	if t.desc.SelfReferring {
		size = 1
	}
	for part := range slices.Chunk(rows, size) {
		if len(part) == 1 {
			s.add("DELETE FROM ", t.name)
		} else { // of which only this form can be told what key to use
			s.add("DELETE t FROM ", t.name, " AS t", t.keyed())
		}
		t.whereVersions(s, part).end().demandRows(len(part))
	}
	if !t.remember {
		return
	}
	in(rows, func(part []*driver.Write) {
		p.memories(s, t, part, func(w *driver.Write) int64 { return w.Version })
		s.do(" ON DUPLICATE KEY UPDATE version = VALUES(version), sequence = VALUES(sequence)")
	})
}

// memories begins the statement that remembers rows.
func (p *plan) memories(s *script, t *table, rows []*driver.Write, version func(w *driver.Write) int64) {
	s.add("INSERT INTO ", p.store.schema, "uow_tombstones (collection, id, version, sequence) VALUES ").list(len(rows), func(i int) {
		w := rows[i]
		s.add("(").quoted(t.desc.Name).add(", ").id(w.ID).add(", ").int(version(w)).add(", ").int(w.Sequence).add(")")
	})
}

func (p *plan) update(s *script, t *table, rows []*driver.Write) {
	if len(rows) <= few && !p.together || t.desc.SelfReferring {
		for _, w := range rows {
			t.updateOne(s, w)
		}
		return
	}
	for part := range slices.Chunk(rows, many) {
		for len(part) > 0 {
			n := fitting(part, p.store.maxPacket/2)
			t.updateMany(s, part[:n])
			part = part[n:]
		}
	}
}

// fitting returns how many rows, at least one, are surely not larger than what the
// server takes: bodies are doubled where they have to be hexadecimal.
func fitting(rows []*driver.Write, limit int) int {
	size := 0
	for i, w := range rows {
		size += 2*len(w.Body) + 512
		for _, v := range w.Indexes {
			if x, ok := v.(string); ok {
				size += 2 * len(x)
			}
		}
		if size > limit && i > 0 {
			return i
		}
	}
	return len(rows)
}

// assign appends the assignments of an update; value appends what a column gets.
func (t *table) assign(s *script, value func(append func(w *driver.Write))) {
	s.add(t.version, " = ", t.version, " + 1")
	if t.sequence != "" {
		s.add(", ", t.sequence, " = ")
		value(func(w *driver.Write) { s.int(w.Sequence) })
	}
	if t.desc.Table == nil {
		s.add(", body = ")
		value(func(w *driver.Write) { t.body(s, w) })
	}
	for i, column := range t.columns {
		s.add(", ", column, " = ")
		value(func(w *driver.Write) { t.value(s, i, w.Indexes[i]) })
	}
}

func (t *table) updateOne(s *script, w *driver.Write) {
	s.add("UPDATE ", t.name, " SET ")
	t.assign(s, func(append func(w *driver.Write)) { append(w) })
	t.whereVersions(s, []*driver.Write{w}).end().demandRows(1)
}

// updateMany updates rows by one statement, each column by a choice on the key.
func (t *table) updateMany(s *script, rows []*driver.Write) {
	if len(rows) == 1 {
		t.updateOne(s, rows[0])
		return
	}
	s.add("UPDATE ", t.name, t.keyed(), " SET ")
	t.assign(s, func(append func(w *driver.Write)) {
		s.add("CASE ", t.key)
		for _, w := range rows {
			t.id(s.add(" WHEN "), w.ID).add(" THEN ")
			append(w)
		}
		s.add(" END")
	})
	t.whereVersions(s, rows).end().demandRows(len(rows))
}

func (p *plan) insert(s *script, t *table, rows []*driver.Write) {
	for part := range slices.Chunk(rows, bunch) {
		for len(part) > 0 {
			n := fitting(part, p.store.maxPacket/2)
			t.insertRows(s, part[:n])
			part = part[n:]
		}
	}
	if t.remember {
		in(rows, func(part []*driver.Write) { p.goOn(s, t, part) })
	}
}

func (t *table) insertRows(s *script, rows []*driver.Write) {
	s.add("INSERT INTO ", t.name, " (", t.key, ", ", t.version)
	if t.sequence != "" {
		s.add(", ", t.sequence)
	}
	if t.desc.Table == nil {
		s.add(", body")
	}
	for _, column := range t.columns {
		s.add(", ", column)
	}
	s.add(") VALUES ").list(len(rows), func(i int) {
		w := rows[i]
		if t.numeric && !canonical(w.ID) {
			s.fail(fmt.Errorf("%w: the key of %s is an integer, and %.40q is none", ErrValue, t.desc.Name, w.ID))
		}
		t.id(s.add("("), w.ID).add(", ").int(w.Version + t.offset)
		if t.sequence != "" {
			s.add(", ").int(w.Sequence)
		}
		if t.desc.Table == nil {
			t.body(s.add(", "), w)
		}
		for i, v := range w.Indexes {
			t.value(s.add(", "), i, v)
		}
		s.add(")")
	}).end()
}

// goOn lets inserted rows go on from what is remembered of deleted ones. It comes
// after the insert, which may have waited for the delete of the same row, and reads
// what is newest.
func (p *plan) goOn(s *script, t *table, rows []*driver.Write) {
	graves := p.store.schema + "uow_tombstones AS g FORCE INDEX (PRIMARY)"
	of := func() *script {
		return s.add(" WHERE g.collection = ").quoted(t.desc.Name).add(" AND g.id IN ").
			ids(len(rows), func(i int) string { return rows[i].ID })
	}
	s.add("SELECT g.id, g.version, g.sequence FROM ", graves)
	of().add(forShare).query(func(row []sqldriver.Value) error {
		p.shifts = append(p.shifts, shift{t, text(row[0]), number(row[1]), number(row[2])})
		return nil
	})
	if t.desc.Table == nil {
		s.add("UPDATE ", graves, " STRAIGHT_JOIN ", t.name, " AS t ON t.id = g.id",
			" SET t.version = t.version + g.version, t.sequence = t.sequence + g.sequence")
		of().end()
		return
	}
	t.goOnMapped(s, graves, rows)
}

// counts appends the statements that keep the sequences of rows whose table has no
// column for them.
func (p *plan) counts(s *script) {
	for i := range p.cs.Writes {
		w := &p.cs.Writes[i]
		t := p.store.tables[w.Collection]
		recorded := func(m driver.Message) bool { return m.Write == i+1 }
		if t.sequence != "" || w.Op == driver.Delete || !slices.ContainsFunc(p.cs.Messages, recorded) {
			continue
		}
		p.memories(s, t, []*driver.Write{w}, func(*driver.Write) int64 { return 0 })
		s.add(" ON DUPLICATE KEY UPDATE sequence = VALUES(sequence)")
		if w.Op == driver.Insert {
			s.add(" + sequence")
		}
		s.end()
	}
}

// marker appends the statement that marks the unit as committed, and those that are
// committed with it. Who appends messages takes a lane by it, before any position is
// given.
func (p *plan) marker(s *script, appends bool, others ...*groupcommit.Request) {
	rows, demanded := s.takeDemand()
	s.add("INSERT INTO ", p.store.schema, "uow_units (unit, at, lane) VALUES (").hex(key(p.cs.Unit)).add(", UTC_TIMESTAMP(6), ")
	if appends {
		s.add("(SELECT lane FROM ", p.store.schema, "uow_lanes WHERE lane = CONNECTION_ID() % ").int(lanes).add(forShare, ")")
	} else {
		s.add("-1")
	}
	if demanded { // as demandRows
		s.add(" + 0 * (", most, "(ROW_COUNT() <> ").int(int64(rows)).add("))")
	}
	for _, r := range others {
		s.add("), (").hex(key(r.ChangeSet.Unit)).add(", UTC_TIMESTAMP(6), -1")
	}
	s.do(")")
}

// adjust tells the change set how inserts of rows that were deleted before have
// gone on.
func (p *plan) adjust() error {
	for _, s := range p.shifts {
		i := slices.IndexFunc(p.cs.Writes, func(w driver.Write) bool {
			return w.ID == s.id && w.Collection == s.table.desc.Name && w.Op == driver.Insert
		})
		if i < 0 {
			return errors.New("mysql: a row that was not inserted went on")
		}
		p.cs.Writes[i].Version += s.version
		p.cs.Writes[i].Sequence += s.sequence
		for j := range p.cs.Messages {
			if m := &p.cs.Messages[j]; m.Write == i+1 {
				m.Sequence += s.sequence
			}
		}
	}
	p.shifts = nil
	return nil
}

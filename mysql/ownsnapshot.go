package mysql

import (
	"context"
	"fmt"
	"maps"
	"slices"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

// sharedRead is what a unit has read in a snapshot that it shares.
//
// The server can't give its snapshot to another transaction. So a unit that wants to
// write before its commit, or to lock rows, begins a transaction of its own, and reads
// there again what it has read already: where that is still the same, the new snapshot
// is as good as the old one. Where it is not, the unit can read on, but what it wanted
// is refused. The commit needs no snapshot.
type sharedRead struct {
	snapshot *snapshot
	done     []*doneRead
}

// doneRead is a read, and what it has found: the versions of rows by their ids, or how
// many there are.
type doneRead struct {
	table *table
	ids   []string
	query *driver.Query
	count bool
	sight
	again sight // what it finds now
}

type sight struct {
	versions map[string]int64
	n        int64
}

func versionsOf(rows []driver.Row) map[string]int64 {
	versions := make(map[string]int64, len(rows))
	for _, row := range rows {
		versions[row.ID] = row.Version
	}
	return versions
}

// got notes a read of rows by their ids, found one of a query, and counted one that
// has counted.
func (r *sharedRead) got(t *table, ids []string, rows []driver.Row) {
	r.done = append(r.done, &doneRead{table: t, ids: slices.Clone(ids), sight: sight{versions: versionsOf(rows)}})
}

func (r *sharedRead) found(t *table, q driver.Query, rows []driver.Row) {
	r.done = append(r.done, &doneRead{table: t, query: &q, sight: sight{versions: versionsOf(rows)}})
}

func (r *sharedRead) counted(t *table, q driver.Query, n int64) {
	r.done = append(r.done, &doneRead{table: t, query: &q, count: true, sight: sight{n: n}})
}

// repeat appends the read.
func (d *doneRead) repeat(s *script) error {
	d.again = sight{versions: map[string]int64{}}
	switch {
	case d.count:
		return d.table.count(s, *d.query, &d.again.n)
	case d.query == nil:
		d.table.versions(s, d.ids, "", d.again.versions)
		return nil
	}
	s.add("SELECT ", d.table.keyText(), ", ", d.table.version, " FROM ", d.table.name)
	if err := d.table.where(s, *d.query); err != nil {
		return err
	}
	s.query(func(row []sqldriver.Value) error {
		d.again.versions[textOf(row[0])] = number(row[1]) - d.table.offset
		return nil
	})
	return nil
}

func (d *doneRead) same() bool {
	return d.n == d.again.n && maps.Equal(d.versions, d.again.versions)
}

// leaveSnapshot ends the unit's part in a shared snapshot.
func (t *tx) leaveSnapshot() {
	if t.shared == nil {
		return
	}
	t.store.reads.Leave(t.shared.snapshot)
	t.shared = nil
}

// readOn reads in the snapshot that the unit shares.
func (t *tx) readOn(ctx context.Context, query func(s *script) error) error {
	s := newScript()
	if err := query(s); err != nil {
		return err
	}
	if s.err != nil {
		return s.err
	}
	if err := t.store.runIn(ctx, t.shared.snapshot, s); err != nil {
		t.failed = t.store.wrap(ctx, "read", err)
		return t.failed
	}
	return nil
}

// ownSnapshot gives the unit a transaction of its own in place of a snapshot that it
// shares. Where something that it has read was changed since, it is a conflict with
// what the unit wants to write, or to lock, or ErrRetryable where that is something
// else, and the unit goes on to share the snapshot.
func (t *tx) ownSnapshot(ctx context.Context, wanted []*driver.Write) error {
	if t.shared == nil {
		return nil
	}
	s := newScript()
	t.store.begin(s, max(t.store.options.Isolation, RepeatableRead), t.readOnly)
	for _, d := range t.shared.done {
		if err := d.repeat(s); err != nil {
			return err
		}
	}
	if err := t.connect(ctx); err != nil {
		return err
	}
	t.begun = true
	if _, err := t.run(ctx, s); err != nil {
		t.abort()
		t.giveBack()
		return t.store.wrap(ctx, "read", err)
	}
	if err := t.shared.changed(wanted); err != nil {
		t.abort()
		t.giveBack()
		return err
	}
	t.leaveSnapshot()
	t.snapshot = true
	return nil
}

// changed says what was changed since the unit has read it, or nil.
func (r *sharedRead) changed(wanted []*driver.Write) (err error) {
	for _, d := range r.done {
		if d.same() {
			continue
		}
		err = fmt.Errorf("mysql: %w: what the unit has read of %s was changed meanwhile", driver.ErrRetryable, d.table.desc.Name)
		for _, w := range wanted {
			before, read := d.versions[w.ID]
			if now := d.again.versions[w.ID]; read && w.Collection == d.table.desc.Name && before != now {
				return &driver.ConflictError{Collection: w.Collection, ID: w.ID, Expected: before, Found: now}
			}
		}
	}
	return err
}

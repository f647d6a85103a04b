package mvcc

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

// table is one collection.
type table struct {
	desc driver.Collection
	rows map[string]*record
	// holders has, for each unique index, the id of the newest row with each
	// value; nil for other indexes.
	holders []map[any]string
}

// record is one row with its past, oldest first, never empty.
type record struct {
	versions []state
}

// state is a row as one commit left it. It is never changed, so that snapshots
// share it.
type state struct {
	commit  int64
	row     driver.Row
	indexes []driver.Value
	// deleted states remember the version and the sequence, from which an insert
	// goes on.
	deleted bool
}

func newTable(desc driver.Collection) (*table, error) {
	t := &table{
		desc:    desc,
		rows:    map[string]*record{},
		holders: make([]map[any]string, len(desc.Indexes)),
	}
	seen := map[string]bool{"id": true, "version": true, "sequence": true, "body": true}
	last := driver.Time
	if desc.Table != nil {
		seen, last = map[string]bool{"id": true}, driver.JSON
	}
	for i, index := range desc.Indexes {
		if seen[index.Name] || index.Kind < driver.String || index.Kind > last {
			return nil, fmt.Errorf("%w: collection %s: index %q has no kind or its name is taken", uow.ErrConfig, desc.Name, index.Name)
		}
		seen[index.Name] = true
		if index.Unique {
			t.holders[i] = map[any]string{}
		}
	}
	return t, nil
}

// newest returns the state that the last commit left; the zero state when there
// never was a row.
func (t *table) newest(id string) state {
	r, ok := t.rows[id]
	if !ok {
		return state{deleted: true}
	}
	return r.versions[len(r.versions)-1]
}

// at returns the state that a snapshot sees.
func (r *record) at(snapshot int64) (state, bool) {
	for i := len(r.versions) - 1; i >= 0; i-- {
		if v := r.versions[i]; v.commit <= snapshot {
			return v, !v.deleted
		}
	}
	return state{}, false
}

// put adds the newest state of a row, and returns its record when there is
// something to forget some day.
func (t *table) put(id string, next state) *record {
	r, ok := t.rows[id]
	if !ok {
		r = &record{versions: []state{next}}
		t.rows[id] = r
		if !r.forgettable(t) {
			return nil
		}
		return r
	}
	r.versions = append(r.versions, next)
	return r
}

// pop takes the newest state of a row back.
func (t *table) pop(id string) {
	r := t.rows[id]
	r.versions = r.versions[:len(r.versions)-1]
	if len(r.versions) == 0 {
		delete(t.rows, id)
	}
}

// hold moves the values of unique indexes from a row's old state to its new one.
// All that leave are let go of before any is taken: see tx.apply.
func (t *table) hold(id string, s state) {
	for i, v := range s.indexes {
		if t.holders[i] != nil && v != nil {
			t.holders[i][mapKey(v)] = id
		}
	}
}

func (t *table) release(s state) {
	for i, v := range s.indexes {
		if t.holders[i] != nil && v != nil {
			delete(t.holders[i], mapKey(v))
		}
	}
}

// forget drops the states that no snapshot from oldest on can see.
func (r *record) forget(oldest int64) {
	keep := 0
	for i, v := range r.versions {
		if v.commit <= oldest {
			keep = i
		}
	}
	r.versions = slices.Delete(r.versions, 0, keep)
}

// forgettable reports whether nothing needs to be remembered of a row.
func (r *record) forgettable(t *table) bool {
	return t.desc.Disposable && len(r.versions) == 1 && r.versions[0].deleted
}

// version returns the version of the live row; 0 when there is none.
func (s state) version() int64 {
	if s.deleted {
		return 0
	}
	return s.row.Version
}

// copy returns the row for a caller to keep.
func (s state) copy() driver.Row {
	row := s.row
	row.Body = bytes.Clone(row.Body)
	return row
}

// row returns a state of the table for a caller to keep.
func (t *table) row(s state) driver.Row {
	row := s.copy()
	if t.desc.Table != nil {
		row.Indexes = copyValues(s.indexes)
	}
	return row
}

func copyValues(values []driver.Value) []driver.Value {
	values = slices.Clone(values)
	for i, v := range values {
		if b, ok := v.([]byte); ok {
			values[i] = bytes.Clone(b)
		}
	}
	return values
}

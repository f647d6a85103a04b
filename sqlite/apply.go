package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
	sqlite3 "modernc.org/sqlite/lib"
)

// adjustment is what the insert of a row that was deleted before goes on from.
type adjustment struct {
	write    int // its place in the change set
	version  int64
	sequence int64
}

// adjust tells the change set, once it is committed, how inserts of rows that
// were deleted before have gone on. It is not done at once since a group may be
// written again.
func (r *request) adjust() {
	for _, a := range r.adjusted {
		w := &r.cs.Writes[a.write]
		w.Version += a.version
		w.Sequence += a.sequence
		for i := range r.cs.Messages {
			if m := &r.cs.Messages[i]; m.Write == a.write+1 {
				m.Sequence += a.sequence
			}
		}
	}
	r.adjusted = r.adjusted[:0]
}

// shift returns what a message's sequence grows by.
func (r *request) shift(m *driver.Message) int64 {
	for _, a := range r.adjusted {
		if m.Write == a.write+1 {
			return a.sequence
		}
	}
	return 0
}

// isOwn reports whether an error is of one unit alone: the transaction goes on
// without it.
func isOwn(err error) bool {
	var conflict *driver.ConflictError
	var duplicate *driver.DuplicateError
	var own *ownError
	return errors.As(err, &conflict) || errors.As(err, &duplicate) || errors.As(err, &own)
}

// ownError marks an error of other work as that work's own.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// apply writes a change set, but for its messages, which go to the batch.
func (w *writer) apply(r *request) error {
	r.adjusted = r.adjusted[:0]
	for i := range r.cs.Checks {
		if err := w.check(&r.cs.Checks[i]); err != nil {
			return err
		}
	}
	for i := range r.cs.Ranges {
		if err := w.checkRange(r, &r.cs.Ranges[i]); err != nil {
			return err
		}
	}
	for i := range r.cs.Releases {
		if err := w.letGo(&r.cs.Releases[i]); err != nil {
			return err
		}
	}
	for i := range r.cs.Writes {
		if err := w.applyRow(r, i); err != nil {
			return err
		}
	}
	for i := range r.cs.Messages {
		m := &r.cs.Messages[i]
		w.batch = append(w.batch, entry{message: m, sequence: m.Sequence + r.shift(m)})
	}
	return nil
}

func (w *writer) check(check *driver.Check) error {
	t, err := w.store.table(check.Collection)
	if err != nil {
		return &ownError{err}
	}
	found, _, err := w.conn.integer(t.selectVersion, check.ID)
	if err != nil {
		return wrap("check "+check.Collection+"/"+check.ID, err)
	}
	if found != check.Version {
		return &driver.ConflictError{Collection: check.Collection, ID: check.ID, Expected: check.Version, Found: found}
	}
	return nil
}

func (w *writer) applyRow(r *request, i int) error {
	row := &r.cs.Writes[i]
	t, err := w.store.table(row.Collection)
	if err != nil {
		return &ownError{err}
	}
	switch row.Op {
	case driver.Insert:
		err = w.insert(r, t, i)
	case driver.Update:
		err = w.update(r, t, i)
	case driver.Delete:
		err = w.delete(t, row)
	default:
		err = &ownError{fmt.Errorf("sqlite: unknown operation %v", row.Op)}
	}
	switch code(err) {
	case 0:
		return err
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return w.explain(t, row, err)
	}
	return wrap(fmt.Sprintf("%v %s/%s", row.Op, row.Collection, row.ID), err)
}

func (w *writer) insert(r *request, t *table, i int) error {
	row := &r.cs.Writes[i]
	a, err := w.remembered(t, row, i)
	if err != nil {
		return err
	}
	args := w.conn.values(4 + len(row.Indexes))
	args = append(args, row.ID, row.Version+a.version+t.offset)
	args = t.columns(args, row, row.Sequence+a.sequence)
	if _, err := w.conn.exec(t.insert, args...); err != nil {
		return err
	}
	if a.version > 0 || a.sequence > 0 {
		r.adjusted = append(r.adjusted, a)
	}
	return w.countEvents(r, t, i)
}

// columns appends the values of the columns behind the version.
func (t *table) columns(args []sqldriver.Value, row *driver.Write, sequence int64) []sqldriver.Value {
	if t.sequenced {
		args = append(args, sequence)
	}
	if t.desc.Table == nil {
		args = append(args, notNil(row.Body))
	}
	for i, v := range row.Indexes {
		args = append(args, t.encode(i, v))
	}
	return args
}

// remembered returns what the insert of a row goes on from.
func (w *writer) remembered(t *table, row *driver.Write, i int) (adjustment, error) {
	a := adjustment{write: i}
	if t.desc.Disposable {
		return a, nil
	}
	err := w.conn.query(context.Background(), func(found []sqldriver.Value) error {
		a.version, a.sequence = number(found[0]), number(found[1])
		return nil
	}, `SELECT version, sequence FROM uow_tombstones WHERE collection = ? AND id = ?`, row.Collection, row.ID)
	return a, err
}

func (w *writer) update(r *request, t *table, i int) error {
	row := &r.cs.Writes[i]
	args := w.conn.values(5 + len(row.Indexes))
	args = t.columns(append(args, row.Version+t.offset), row, row.Sequence)
	args = append(args, row.ID, row.Expected+t.offset)
	n, err := w.conn.exec(t.update, args...)
	if err != nil {
		return err
	}
	if n == 0 {
		return w.conflict(t, row)
	}
	return w.countEvents(r, t, i)
}

func (w *writer) delete(t *table, row *driver.Write) error {
	n, err := w.conn.exec(t.delete, row.ID, row.Expected+t.offset)
	if err == nil && n == 0 {
		return w.conflict(t, row)
	}
	if err != nil || t.desc.Disposable {
		return err
	}
	_, err = w.conn.exec(`INSERT INTO uow_tombstones VALUES (?, ?, ?, ?)
		ON CONFLICT (collection, id) DO UPDATE SET version = excluded.version, sequence = excluded.sequence`,
		row.Collection, row.ID, row.Version, row.Sequence)
	return err
}

// conflict returns the error of a row whose version is another than expected.
func (w *writer) conflict(t *table, row *driver.Write) error {
	found, _, err := w.conn.integer(t.selectVersion, row.ID)
	if err != nil {
		return err
	}
	return &driver.ConflictError{Collection: row.Collection, ID: row.ID, Expected: row.Expected, Found: found}
}

// explain turns a violated constraint into the error that the driver's rules ask
// for. Which one of two violated constraints SQLite reports is not defined, and a
// row that is there already comes first.
func (w *writer) explain(t *table, row *driver.Write, violation error) error {
	if row.Op == driver.Insert {
		_, exists, err := w.conn.integer(t.selectVersion, row.ID)
		if err != nil {
			return wrap("insert "+row.Collection+"/"+row.ID, err)
		}
		if exists {
			return w.conflict(t, row)
		}
	}
	if index, ok := violatedIndex(t, violation); ok {
		return &driver.DuplicateError{Collection: row.Collection, ID: row.ID, Index: index}
	}
	return wrap(fmt.Sprintf("%v %s/%s", row.Op, row.Collection, row.ID), violation)
}

// violatedIndex finds the unique index of a collection that SQLite's message
// names, as table.column: there is no other way to learn it. It is false for
// constraints that the user has added.
func violatedIndex(t *table, violation error) (string, bool) {
	message := violation.Error()
	for _, index := range t.desc.Indexes {
		if !index.Unique {
			continue
		}
		name := t.plainName() + "." + index.Name
		at := strings.Index(message, name)
		if at < 0 {
			continue
		}
		// Not where the column's name only begins with the index', and not where
		// several columns are named.
		if rest := message[at+len(name):]; rest == "" || rest[0] == ' ' || rest[0] == ')' {
			return index.Name, true
		}
	}
	return "", false
}

// plainName returns the table's name as SQLite's messages have it.
func (t *table) plainName() string {
	if t.desc.Table == nil {
		return t.desc.Name
	}
	return t.desc.Table.Name[strings.Index(t.desc.Table.Name, ".")+1:]
}

// notNil keeps an empty body from becoming NULL.
func notNil(body []byte) []byte {
	if body == nil {
		return []byte{}
	}
	return body
}

// Package grouptest tests stores that commit units in groups: what becomes of units that
// share a transaction, but no fate.
package grouptest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
	"github.com/uow-go/uow/outbox"
)

// Store is what a store under test has.
type Store interface {
	driver.Store
	driver.Resolver
	outbox.Log
}

// Fixture is an empty database of a store, with a collection "documents", which has an
// index "count" of numbers that is not unique.
type Fixture struct {
	testing.TB
	Store Store
	// Enter begins a transaction, and returns what commits it in a group.
	Enter func() (commit func(ctx context.Context, cs *driver.ChangeSet) error)
	// Lead has a leader at work until end is called.
	Lead func() (end func())
	// Waiting returns how many units wait for a leader.
	Waiting func() int
}

// Lead has a leader at work, which commits nothing, until end is called.
func Lead[C any](t testing.TB, q *groupcommit.Queue[C]) (end func()) {
	b := busy[C]{make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := q.Commit(t.Context(), &driver.ChangeSet{}, b); err != nil {
			t.Errorf("a group of nothing: %v", err)
		}
	}()
	<-b.began
	return func() {
		close(b.ended)
		<-done
	}
}

// busy is a leader that commits nothing, and takes its time.
type busy[C any] struct{ began, ended chan struct{} }

func (busy[C]) Yield() {}

func (b busy[C]) Lead(_ context.Context, _ C, group []*groupcommit.Request) {
	close(b.began)
	<-b.ended
	for _, r := range group {
		r.Settle(nil)
	}
}

func (busy[C]) Leave(bool) (none C) { return none }

// Together lets change sets wait in this order while a leader is at work, which then
// hands over, and returns the outcomes.
func (f *Fixture) Together(sets ...*driver.ChangeSet) []error {
	f.Helper()
	return f.Gathered(func(int) context.Context { return f.Context() }, nil, sets...)
}

// Gathered is Together with a context for each, and a function that is called when all
// wait.
func (f *Fixture) Gathered(ctx func(i int) context.Context, gathered func(), sets ...*driver.ChangeSet) []error {
	f.Helper()
	end := f.Lead()
	type outcome struct {
		i   int
		err error
	}
	outcomes := make(chan outcome, len(sets))
	for i, cs := range sets {
		commit := f.Enter()
		go func() { outcomes <- outcome{i, commit(ctx(i), cs)} }()
		f.until("it waits", func() bool { return f.Waiting() == i+1 })
	}
	if gathered != nil {
		gathered()
	}
	end()
	errs := make([]error, len(sets))
	for range sets {
		o := <-outcomes
		errs[o.i] = o.err
	}
	return errs
}

// until repeats fn until it is true, and waits a little in between.
func (f *Fixture) until(what string, fn func() bool) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	turns := time.NewTicker(2 * time.Millisecond)
	defer turns.Stop()
	for !fn() {
		select {
		case <-turns.C:
		case <-ctx.Done():
			f.Fatalf("%s: it never was", what)
		}
	}
}

func (f *Fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *Fixture) begin() driver.Tx {
	f.Helper()
	tx, err := f.Store.Begin(f.Context(), driver.TxOptions{})
	f.must(err)
	f.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

// commit commits change sets one after the other, each by itself.
func (f *Fixture) commit(sets ...*driver.ChangeSet) {
	f.Helper()
	for _, cs := range sets {
		f.must(f.begin().Commit(f.Context(), cs))
	}
}

// add inserts documents, each in a unit of its own.
func (f *Fixture) add(ids ...string) {
	f.Helper()
	for _, id := range ids {
		f.commit(Insert("add "+id, id))
	}
}

// row returns a document's version and sequence; "none" when there is none.
func (f *Fixture) row(id string) string {
	f.Helper()
	t := f.begin()
	rows, err := t.Get(f.Context(), "documents", []string{id})
	f.must(errors.Join(err, t.Rollback()))
	if len(rows) == 0 {
		return "none"
	}
	return fmt.Sprint(rows[0].Version, rows[0].Sequence)
}

// log returns the ids of its messages.
func (f *Fixture) log() (ids []string) {
	f.Helper()
	for after := int64(0); ; {
		some, next, err := f.Store.Scan(f.Context(), outbox.Query{After: after, Limit: 7})
		f.must(err)
		for _, m := range some {
			ids = append(ids, m.ID)
		}
		if next == after {
			return ids
		}
		after = next
	}
}

// wantCommitted demands what Resolve says of units.
func (f *Fixture) wantCommitted(want bool, units ...string) {
	f.Helper()
	for _, unit := range units {
		got, err := f.Store.Resolve(f.Context(), unit)
		if err != nil || got != want {
			f.Errorf("unit %s: committed: %v, %v, want %v", unit, got, err, want)
		}
	}
}

// Insert is a change set with one document, and messages where asked.
func Insert(unit, id string, messages ...string) *driver.ChangeSet {
	cs := Appending(unit, messages...)
	cs.Writes = []driver.Write{
		{Op: driver.Insert, Collection: "documents", ID: id, Version: 1, Body: []byte(`{}`), Indexes: []driver.Value{int64(0)}},
	}
	return cs
}

// Appending is a change set with messages alone.
func Appending(unit string, messages ...string) *driver.ChangeSet {
	cs := &driver.ChangeSet{Unit: unit, At: time.Unix(1, 0)}
	for _, m := range messages {
		cs.Messages = append(cs.Messages, driver.Message{ID: m, Type: "t", CreatedAt: cs.At})
	}
	return cs
}

// Update is a change set that changes a document.
func Update(unit, id string, expected int64, messages ...string) *driver.ChangeSet {
	cs := Appending(unit, messages...)
	cs.Writes = []driver.Write{{Op: driver.Update, Collection: "documents", ID: id, Expected: expected, Version: expected + 1,
		Sequence: int64(len(messages)), Body: []byte(`{"ID":"` + id + `"}`), Indexes: []driver.Value{int64(1)}}}
	return cs
}

// remove is a change set that deletes a document.
func remove(unit, id string, expected, sequence int64) *driver.ChangeSet {
	return &driver.ChangeSet{Unit: unit, At: time.Unix(1, 0), Writes: []driver.Write{
		{Op: driver.Delete, Collection: "documents", ID: id, Expected: expected, Version: expected + 1, Sequence: sequence},
	}}
}

// IsConflict reports whether an error is a conflict of these versions.
func IsConflict(err error, expected, found int64) bool {
	e, ok := errors.AsType[*driver.ConflictError](err)
	return ok && e.Expected == expected && e.Found == found
}

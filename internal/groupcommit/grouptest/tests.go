package grouptest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// Refusals are how a store says no to a unit by itself.
type Refusals struct {
	// Constraint reports whether an error is that of the database's constraint, by which
	// the index "count" of documents must be less than 100.
	Constraint func(err error) bool
	// Text is an id that the store refuses with ErrText.
	Text    string
	ErrText error
	// ErrFenced is the error of a unit that was resolved as not committed.
	ErrFenced error
}

// MixedFates has units of one group fail for each reason there is, and demands that they
// fail alone, and leave nothing.
func MixedFates(f *Fixture, r Refusals) {
	f.Helper()
	f.add("a", "b", "c", "d", "gone", "missing")
	f.commit(remove("before", "gone", 1, 0), remove("before too", "missing", 1, 0))
	check := Update("checks", "c", 1, "m-checks")
	check.Checks = []driver.Check{{Collection: "documents", ID: "d", Version: 9}}
	refused := Update("refused", "d", 1, "m-refused")
	refused.Writes[0].Indexes = []driver.Value{int64(100)}
	_, err := f.Store.Resolve(f.Context(), "fenced")
	f.must(err)
	fine := func(err error) bool { return err == nil }
	conflict := func(expected, found int64) func(err error) bool {
		return func(err error) bool { return IsConflict(err, expected, found) }
	}
	f.wantFates([]fate{
		{Update("good", "a", 1, "m-good-1", "m-good-2"), fine},
		{Update("stale", "b", 7, "m-stale"), conflict(7, 1)},
		{Update("missing", "missing", 1, "m-missing"), conflict(1, 0)},
		{Insert("there", "c", "m-there"), conflict(0, 1)},
		{Insert("new", "new", "m-new"), fine},
		{check, conflict(9, 1)},
		{refused, r.Constraint},
		{Insert("fenced", "fenced", "m-fenced"), func(err error) bool { return errors.Is(err, r.ErrFenced) }},
		{Insert("text", r.Text, "m-text"), func(err error) bool { return errors.Is(err, r.ErrText) }},
		{Appending("only messages", "m-only"), fine},
		{Insert("again", "gone", "m-again"), fine},
	})
	for id, want := range map[string]string{"a": "2 2", "b": "1 0", "c": "1 0", "d": "1 0", "new": "1 0", "gone": "3 0", "fenced": "none"} {
		if got := f.row(id); got != want {
			f.Errorf("row %s is %s, want %s", id, got, want)
		}
	}
}

// fate is what is to become of a unit.
type fate struct {
	cs   *driver.ChangeSet
	want func(err error) bool
}

// wantFates demands that each unit of a group has its fate, and the log the messages of
// those that were committed.
func (f *Fixture) wantFates(units []fate) {
	f.Helper()
	var sets []*driver.ChangeSet
	for _, u := range units {
		sets = append(sets, u.cs)
	}
	var want []string
	for i, err := range f.Together(sets...) {
		if !units[i].want(err) {
			f.Errorf("unit %s: got %v", sets[i].Unit, err)
		}
		f.wantCommitted(err == nil, sets[i].Unit)
		if err != nil {
			continue
		}
		for _, m := range sets[i].Messages {
			want = append(want, m.ID)
		}
	}
	got := f.log()
	if i, j := slices.Index(got, "m-good-1"), slices.Index(got, "m-good-2"); i > j {
		f.Errorf("a unit's messages are out of order: %v", got)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		f.Errorf("the log has %v, want %v", got, want)
	}
}

// SameRow has many units want one row: each time exactly one wins.
func SameRow(f *Fixture) {
	f.Helper()
	f.add("a")
	for round := range int64(3) {
		var sets []*driver.ChangeSet
		for i := range 8 {
			sets = append(sets, Update(fmt.Sprintf("unit %d %d", round, i), "a", round+1, fmt.Sprintf("m%d%d", round, i)))
		}
		for i, err := range f.Together(sets...) {
			if i == 0 && err != nil || i > 0 && !IsConflict(err, round+1, round+2) {
				f.Errorf("unit %d: got %v", i, err)
			}
			f.wantCommitted(i == 0, sets[i].Unit)
		}
	}
	if got := f.row("a"); !strings.HasPrefix(got, "4 ") {
		f.Errorf("the row is %s, want version 4", got)
	}
	if got := f.log(); !slices.Equal(got, []string{"m00", "m10", "m20"}) {
		f.Errorf("the log has %v", got)
	}
}

// DeleteAndInsert has units delete and insert the same row one after the other: versions
// and sequences go on.
func DeleteAndInsert(f *Fixture) {
	f.Helper()
	f.add("a", "b")
	change := Update("change", "a", 1, "m1")
	change.Messages[0].Sequence, change.Messages[0].Write = 1, 1
	f.commit(change)
	second := Insert("second", "a", "m2")
	second.Writes[0].Sequence, second.Messages[0].Sequence, second.Messages[0].Write = 1, 1, 1
	errs := f.Together(remove("first", "a", 2, 1), Update("other", "b", 1), second)
	f.must(errors.Join(errs...))
	if got := second.Writes[0]; got.Version != 4 || got.Sequence != 2 || second.Messages[0].Sequence != 2 {
		f.Errorf("the second unit's write is %+v, its message's sequence %d; want version 4, sequence 2", got, second.Messages[0].Sequence)
	}
	if got := f.row("a"); got != "4 2" {
		f.Errorf("the row is %s, want 4 2", got)
	}
	messages, _, err := f.Store.Scan(f.Context(), outbox.Query{Limit: 10})
	f.must(err)
	if len(messages) != 2 || messages[1].Sequence != 2 {
		f.Errorf("the log has %+v", messages)
	}
}

// UniqueIndex attributes duplicates to their units. The index "count" of documents is
// unique.
func UniqueIndex(f *Fixture) {
	f.Helper()
	person := func(id string, count int64) *driver.ChangeSet {
		cs := Insert("unit "+id, id)
		cs.Writes[0].Indexes[0] = count
		return cs
	}
	swap := &driver.ChangeSet{Unit: "swap", Writes: []driver.Write{
		{Op: driver.Delete, Collection: "documents", ID: "old", Expected: 1, Version: 2},
		{Op: driver.Insert, Collection: "documents", ID: "young", Version: 1, Body: []byte(`{}`), Indexes: []driver.Value{int64(7)}},
	}}
	f.commit(person("taken", 1), person("old", 7))
	errs := f.Together(person("a", 2), person("b", 1), person("c", 3), person("d", 3), swap, person("e", 4))
	duplicates := 0
	for i, err := range errs {
		d, ok := errors.AsType[*driver.DuplicateError](err)
		switch {
		case i == 1 && (!ok || d.ID != "b" || d.Index != "count"):
			f.Errorf("unit b: got %v, want its DuplicateError", err)
		case (i == 2 || i == 3) && ok && d.ID == []string{"c", "d"}[i-2]:
			duplicates++
		case i != 1 && err != nil:
			f.Errorf("unit %d: got %v", i, err)
		}
	}
	if duplicates != 1 {
		f.Errorf("of two units with one value %d failed, want 1: %v", duplicates, errs)
	}
}

// DoesNotWait has a row of a unit of the group be locked by another transaction: the
// others are committed meanwhile.
func DoesNotWait(f *Fixture) {
	f.Helper()
	f.add("a", "b", "c")
	holder := f.begin()
	f.must(holder.Flush(f.Context(), Update("holder", "b", 1)))
	done := make(chan []error, 1)
	go func() { done <- f.Together(Update("u-a", "a", 1), Update("u-b", "b", 1), Update("u-c", "c", 1)) }()
	f.until("the others are committed", func() bool { return f.row("a") == "2 0" && f.row("c") == "2 0" })
	f.must(holder.Commit(f.Context(), &driver.ChangeSet{Unit: "holder"}))
	errs := <-done
	if errs[0] != nil || !IsConflict(errs[1], 1, 2) || errs[2] != nil {
		f.Errorf("got %v, want a conflict of the second", errs)
	}
}

// HeedsContexts has a unit that waits heed its context: nothing of it happens.
func HeedsContexts(f *Fixture) {
	f.Helper()
	f.add("a", "b")
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(f.Context())
	errs := f.Gathered(func(i int) context.Context {
		if i == 1 {
			return ctx
		}
		return f.Context()
	}, func() {
		cancel(cause)
		f.until("it goes away", func() bool { return f.Waiting() == 1 })
	}, Update("stays", "a", 1), Update("leaves", "b", 1))
	if errs[0] != nil || !errors.Is(errs[1], cause) {
		f.Errorf("got %v, want the second to end with its context's cause", errs)
	}
	f.wantCommitted(false, "leaves")
	f.wantCommitted(true, "stays")
}

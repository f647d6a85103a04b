package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
	"github.com/uow-go/uow/outbox"
)

// together lets change sets wait in this order while a leader is at work, which then
// hands over, and returns the outcomes.
func (f *fixture) together(sets ...*driver.ChangeSet) []error {
	f.Helper()
	return f.gathered(func(int) context.Context { return f.Context() }, nil, sets...)
}

func (f *fixture) gathered(ctx func(i int) context.Context, gathered func(), sets ...*driver.ChangeSet) []error {
	f.Helper()
	q := &f.store.commits
	end := f.lead()
	type outcome struct {
		i   int
		err error
	}
	outcomes := make(chan outcome, len(sets))
	for i, cs := range sets {
		t, err := f.store.Begin(f.Context(), driver.TxOptions{})
		f.must(err)
		t.(*tx).mu.Lock()
		go func() {
			defer t.(*tx).mu.Unlock()
			defer t.(*tx).rollback()
			outcomes <- outcome{i, t.(*tx).commitTogether(ctx(i), cs)}
		}()
		f.until("it waits", func() bool { return q.Waiting() == i+1 })
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

// lead has a leader at work until end is called.
func (f *fixture) lead() (end func()) {
	began, ended, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if _, err := f.store.commits.Commit(f.Context(), &driver.ChangeSet{}, busy{began, ended}); err != nil {
			f.Errorf("a group of nothing: %v", err)
		}
	}()
	<-began
	return func() {
		close(ended)
		<-done
	}
}

// busy is a leader that commits nothing, and takes its time.
type busy struct{ began, ended chan struct{} }

func (b busy) Yield() {}

func (b busy) Lead(_ context.Context, _ *session, group []*groupcommit.Request) {
	close(b.began)
	<-b.ended
	for _, r := range group {
		r.Settle(nil)
	}
}

func (b busy) Leave(bool) (none *session) { return none }

// update is a change set that changes a document.
func update(unit, id string, expected int64, messages ...string) *driver.ChangeSet {
	cs := appending(unit, messages...)
	cs.Writes = []driver.Write{{Op: driver.Update, Collection: "documents", ID: id, Expected: expected, Version: expected + 1,
		Sequence: int64(len(messages)), Body: []byte(`{"ID":"` + id + `"}`), Indexes: []driver.Value{int64(1)}}}
	return cs
}

func remove(unit, id string, expected, sequence int64) *driver.ChangeSet {
	return &driver.ChangeSet{Unit: unit, At: time.Unix(1, 0), Writes: []driver.Write{
		{Op: driver.Delete, Collection: "documents", ID: id, Expected: expected, Version: expected + 1, Sequence: sequence},
	}}
}

// row returns a document's version and sequence; "none" when there is none.
func (f *fixture) row(id string) string {
	f.Helper()
	t := f.tx()
	defer t.Rollback()
	rows, err := t.Get(f.Context(), "documents", []string{id})
	f.must(err)
	if len(rows) == 0 {
		return "none"
	}
	return fmt.Sprint(rows[0].Version, rows[0].Sequence)
}

// committed demands what Resolve says of units.
func (f *fixture) committed(want bool, units ...string) {
	f.Helper()
	for _, unit := range units {
		got, err := f.store.Resolve(f.Context(), unit)
		if err != nil || got != want {
			f.Errorf("unit %s: committed: %v, %v, want %v", unit, got, err, want)
		}
	}
}

func conflict(expected, found int64) func(err error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*driver.ConflictError](err)
		return ok && e.Expected == expected && e.Found == found
	}
}

// TestGroupMixedFates has units of one group fail for each reason there is, and
// demands that they fail alone, and leave nothing.
func TestGroupMixedFates(t *testing.T) {
	f := open(t, "", Options{})
	f.add("a", "b", "c", "d", "gone", "missing")
	f.must(f.tx().Commit(t.Context(), remove("before", "gone", 1, 0)))
	f.must(f.tx().Commit(t.Context(), remove("before too", "missing", 1, 0)))
	execute(t, f.store, `ALTER TABLE documents ADD CHECK (count < 100)`)
	check := update("checks", "c", 1, "m-checks")
	check.Checks = []driver.Check{{Collection: "documents", ID: "d", Version: 9}}
	refused := update("refused", "d", 1, "m-refused")
	refused.Writes[0].Indexes = []driver.Value{int64(100)}
	_, err := f.store.Resolve(t.Context(), "fenced")
	f.must(err)
	fine := func(err error) bool { return err == nil }
	units := []struct {
		cs   *driver.ChangeSet
		want func(err error) bool
	}{
		{update("good", "a", 1, "m-good-1", "m-good-2"), fine},
		{update("stale", "b", 7, "m-stale"), conflict(7, 1)},
		{update("missing", "missing", 1, "m-missing"), conflict(1, 0)},
		{insert("there", "c", "m-there"), conflict(0, 1)},
		{insert("new", "new", "m-new"), fine},
		{check, conflict(9, 1)},
		{refused, func(err error) bool { return code(err) == 4025 || code(err) == 3819 }},
		{insert("fenced", "fenced", "m-fenced"), func(err error) bool { return errors.Is(err, ErrFenced) }},
		{insert("text", "t\xff", "m-text"), func(err error) bool { return errors.Is(err, ErrText) }},
		{appending("only messages", "m-only"), fine},
		{insert("again", "gone", "m-again"), fine},
	}
	var sets []*driver.ChangeSet
	for _, u := range units {
		sets = append(sets, u.cs)
	}
	var want []string
	for i, err := range f.together(sets...) {
		if !units[i].want(err) {
			t.Errorf("unit %s: got %v", sets[i].Unit, err)
		}
		if err != nil {
			f.committed(false, sets[i].Unit)
			continue
		}
		f.committed(true, sets[i].Unit)
		for _, m := range sets[i].Messages {
			want = append(want, m.ID)
		}
	}
	for id, want := range map[string]string{"a": "2 2", "b": "1 0", "c": "1 0", "d": "1 0", "new": "1 0", "gone": "3 0", "fenced": "none"} {
		if got := f.row(id); got != want {
			t.Errorf("row %s is %s, want %s", id, got, want)
		}
	}
	got, _ := f.drain(0)
	if i, j := slices.Index(got, "m-good-1"), slices.Index(got, "m-good-2"); i > j {
		t.Errorf("a unit's messages are out of order: %v", got)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the log has %v, want %v", got, want)
	}
}

// TestGroupIsOneTransaction counts round trips and transactions.
func TestGroupIsOneTransaction(t *testing.T) {
	p := newProxy(t)
	f := open(t, through(t, newDatabase(t), p.address), Options{})
	f.quiet()
	ids := names("a", 20)
	f.add(ids...)
	var sets []*driver.ChangeSet
	for _, id := range ids {
		sets = append(sets, update("unit "+id, id, 1, "m-"+id))
	}
	sets = append(sets, update("stale", ids[0], 1)) // clashes, and has lost with the group
	commits := 0
	p.watch(func(m packet) verdict {
		if m.client {
			commits += bytes.Count(m.body, []byte("COMMIT AND"))
		}
		return forward
	})
	var errs []error
	trips := p.count(func() { errs = f.together(sets...) })
	p.watch(nil)
	if commits != 1 || trips != 1 {
		t.Errorf("20 units were committed by %d transactions in %d round trips, want 1", commits, trips)
	}
	f.must(errors.Join(errs[:20]...))
	if !conflict(1, 2)(errs[20]) {
		t.Errorf("got %v, want a conflict", errs[20])
	}
	if got, _ := f.drain(0); !slices.IsSorted(got) || len(got) != 20 {
		t.Errorf("the log has %v", got)
	}
}

// TestGroupSameRow has many units want one row: each time exactly one wins.
func TestGroupSameRow(t *testing.T) {
	f := open(t, "", Options{})
	f.add("a")
	for round := range int64(3) {
		var sets []*driver.ChangeSet
		for i := range 8 {
			sets = append(sets, update(fmt.Sprintf("unit %d %d", round, i), "a", round+1, fmt.Sprintf("m%d%d", round, i)))
		}
		for i, err := range f.together(sets...) {
			if i == 0 && err != nil || i > 0 && !conflict(round+1, round+2)(err) {
				t.Errorf("unit %d: got %v", i, err)
			}
			f.committed(i == 0, sets[i].Unit)
		}
	}
	if got := f.row("a"); !strings.HasPrefix(got, "4 ") {
		t.Errorf("the row is %s, want version 4", got)
	}
	if got, _ := f.drain(0); !slices.Equal(got, []string{"m00", "m10", "m20"}) {
		t.Errorf("the log has %v", got)
	}
}

// TestGroupDeleteAndInsert has units delete and insert the same row one after the
// other: versions and sequences go on.
func TestGroupDeleteAndInsert(t *testing.T) {
	f := open(t, "", Options{})
	f.add("a", "b")
	f.must(f.change("a"))
	second := insert("second", "a", "m2")
	second.Writes[0].Sequence, second.Messages[0].Sequence, second.Messages[0].Write = 1, 1, 1
	errs := f.together(remove("first", "a", 2, 1), update("other", "b", 1), second)
	f.must(errors.Join(errs...))
	if got := second.Writes[0]; got.Version != 4 || got.Sequence != 2 || second.Messages[0].Sequence != 2 {
		t.Errorf("the second unit's write is %+v, its message's sequence %d; want version 4, sequence 2", got, second.Messages[0].Sequence)
	}
	if got := f.row("a"); got != "4 2" {
		t.Errorf("the row is %s, want 4 2", got)
	}
	messages, _, err := f.store.Scan(t.Context(), outbox.Query{After: 0, Limit: 10})
	f.must(err)
	if len(messages) != 2 || messages[1].Sequence != 2 {
		t.Errorf("the log has %+v", messages)
	}
}

// TestGroupUniqueIndex attributes duplicates to their units.
func TestGroupUniqueIndex(t *testing.T) {
	people := uow.Define(uow.CollectionConfig[document]{Name: "people", Indexes: []uow.Index[document]{
		{Name: "count", Kind: uow.Int, Unique: true, Value: func(d *document) any { return d.Count }},
	}})
	db, err := Open(t.Context(), newDatabase(t), uow.Config{Collections: []uow.AnyCollection{people}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	f := &fixture{T: t, db: db, store: db.Store().(*Store)}
	person := func(id string, count int64) *driver.ChangeSet {
		cs := insert("unit "+id, id)
		cs.Writes[0].Collection, cs.Writes[0].Indexes[0] = "people", count
		return cs
	}
	f.must(f.tx().Commit(t.Context(), person("taken", 1)))
	swap := &driver.ChangeSet{Unit: "swap", Writes: []driver.Write{
		{Op: driver.Delete, Collection: "people", ID: "old", Expected: 1, Version: 2},
		{Op: driver.Insert, Collection: "people", ID: "young", Version: 1, Body: []byte(`{}`), Indexes: []driver.Value{int64(7)}},
	}}
	f.must(f.tx().Commit(t.Context(), person("old", 7)))
	errs := f.together(person("a", 2), person("b", 1), person("c", 3), person("d", 3), swap, person("e", 4))
	duplicates := 0
	for i, err := range errs {
		d, ok := errors.AsType[*driver.DuplicateError](err)
		switch {
		case i == 1 && (!ok || d.ID != "b" || d.Index != "count"):
			t.Errorf("unit b: got %v, want its DuplicateError", err)
		case (i == 2 || i == 3) && ok && d.ID == []string{"c", "d"}[i-2]:
			duplicates++
		case i != 1 && err != nil:
			t.Errorf("unit %d: got %v", i, err)
		}
	}
	if duplicates != 1 {
		t.Errorf("of two units with one value %d failed, want 1: %v", duplicates, errs)
	}
}

// TestGroupDoesNotWait has a row of a unit of the group be locked by another
// transaction: the others are committed meanwhile.
func TestGroupDoesNotWait(t *testing.T) {
	f := open(t, "", Options{})
	f.add("a", "b", "c")
	holder := f.tx()
	f.must(holder.Flush(t.Context(), update("holder", "b", 1)))
	done := make(chan []error, 1)
	go func() { done <- f.together(update("u-a", "a", 1), update("u-b", "b", 1), update("u-c", "c", 1)) }()
	f.until("the others are committed", func() bool { return f.row("a") == "2 0" && f.row("c") == "2 0" })
	f.must(holder.Commit(t.Context(), &driver.ChangeSet{Unit: "holder"}))
	errs := <-done
	if errs[0] != nil || !conflict(1, 2)(errs[1]) || errs[2] != nil {
		t.Errorf("got %v, want a conflict of the second", errs)
	}
}

// TestGroupContext: a unit that waits heeds its context, and nothing of it happens;
// one that leads or whose group is under way does not any more.
func TestGroupContext(t *testing.T) {
	f := open(t, "", Options{})
	f.add("a", "b")
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	errs := f.gathered(func(i int) context.Context {
		if i == 1 {
			return ctx
		}
		return t.Context()
	}, func() {
		cancel(cause)
		f.until("it goes away", func() bool { return f.store.commits.Waiting() == 1 })
	}, update("stays", "a", 1), update("leaves", "b", 1))
	if errs[0] != nil || !errors.Is(errs[1], cause) {
		t.Errorf("got %v, want the second to end with its context's cause", errs)
	}
	f.committed(false, "leaves")
	f.committed(true, "stays")
}

// TestCutGroups cuts the connection at each message of a group's commit: each unit
// must learn by itself what became of it.
func TestCutGroups(t *testing.T) {
	p := newProxy(t)
	dsn := newDatabase(t)
	f := open(t, through(t, dsn, p.address), Options{MaxConns: 2})
	direct := open(t, dsn, Options{})
	f.quiet()
	doubts, committed := 0, 0
	for at := 0; ; at++ {
		for _, v := range []verdict{cutBefore, cutAfter} {
			f.store.db.SetMaxIdleConns(0) // connections that were cut after their last answer
			f.store.db.SetMaxIdleConns(2)
			var sets []*driver.ChangeSet
			for i := range 3 {
				unit := fmt.Sprintf("cut %d %d %d", at, v, i)
				sets = append(sets, insert(unit, unit, "m "+unit))
			}
			reached, seen := false, 0
			errs := f.gathered(func(int) context.Context { return t.Context() }, func() {
				p.watch(func(packet) verdict {
					p.mu.Lock()
					defer p.mu.Unlock()
					if seen++; seen == at+1 {
						reached = true
						return v
					}
					return forward
				})
			}, sets...)
			p.watch(nil)
			if !reached {
				f.must(errors.Join(errs...))
				if doubts == 0 || committed == 0 {
					t.Errorf("%d in doubt, %d of them committed: the proxy does not do its work", doubts, committed)
				}
				return
			}
			fates := map[bool]int{}
			for i, err := range errs {
				now := direct.truth(sets[i].Unit, sets[i].Unit, err)
				fates[now]++
				if errors.Is(err, driver.ErrInDoubt) {
					if doubts++; now {
						committed++
					}
				}
			}
		}
	}
}

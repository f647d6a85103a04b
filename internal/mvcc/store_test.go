package mvcc

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// opened returns a store with a collection.
func opened(t *testing.T) *Store {
	t.Helper()
	s := New(Options{Name: "test", Closed: errors.New("closed")})
	if err := s.Register(t.Context(), []driver.Collection{{Name: "rows"}}); err != nil {
		t.Fatal(err)
	}
	return s
}

func begin(t *testing.T, s *Store) *tx {
	t.Helper()
	got, err := s.Begin(t.Context(), driver.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.(*tx)
}

// put commits the next version of a row.
func put(t *testing.T, s *Store, id string) {
	t.Helper()
	w := driver.Write{Op: driver.Insert, Collection: "rows", ID: id, Version: 1}
	if old := s.tables["rows"].newest(id); !old.deleted {
		w.Op, w.Expected, w.Version = driver.Update, old.row.Version, old.row.Version+1
	}
	w.Body = fmt.Append(nil, w.Version)
	if err := begin(t, s).Commit(t.Context(), &driver.ChangeSet{Writes: []driver.Write{w}}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, x *tx, id string) string {
	t.Helper()
	rows, err := x.Get(t.Context(), "rows", []string{id})
	if err != nil || len(rows) != 1 {
		t.Fatalf("got %v, %v, want one row", rows, err)
	}
	return string(rows[0].Body)
}

func TestOldVersionsAreKeptAsLongAsTheyAreSeen(t *testing.T) {
	s := opened(t)
	put(t, s, "a")
	first := begin(t, s)
	get(t, first, "a")
	put(t, s, "a")
	put(t, s, "a")
	second := begin(t, s)
	get(t, second, "a")
	put(t, s, "a")
	put(t, s, "b")
	if a, b := get(t, first, "a"), get(t, second, "a"); a != "1" || b != "3" {
		t.Errorf("the snapshots see %s and %s, want 1 and 3", a, b)
	}
	r := s.tables["rows"].rows["a"]
	if n := len(r.versions); n != 4 {
		t.Errorf("%d versions are kept, want 4", n)
	}
	_ = first.Rollback()
	if n := len(r.versions); n != 2 {
		t.Errorf("%d versions are kept after the first snapshot's end, want 2", n)
	}
	if got := get(t, second, "a"); got != "3" {
		t.Errorf("the second snapshot sees %s, want 3", got)
	}
	_ = second.Rollback()
	if n := len(r.versions); n != 1 || len(s.garbage) != 0 || len(s.pins.list) != 0 {
		t.Errorf("%d versions, %d garbage and %d pins are kept after both ends, want 1, 0 and 0", n, len(s.garbage), len(s.pins.list))
	}
}

func TestRowsAreCopied(t *testing.T) {
	s := opened(t)
	body := []byte("body")
	cs := &driver.ChangeSet{Writes: []driver.Write{{Op: driver.Insert, Collection: "rows", ID: "a", Version: 1, Body: body}}}
	if err := begin(t, s).Commit(t.Context(), cs); err != nil {
		t.Fatal(err)
	}
	body[0] = 'X'
	x := begin(t, s)
	rows, err := x.Get(t.Context(), "rows", []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	rows[0].Body[1] = 'X'
	if got := get(t, x, "a"); got != "body" {
		t.Errorf("got %s, want what was stored", got)
	}
}

func TestRegisterRefuses(t *testing.T) {
	for name, collections := range map[string][]driver.Collection{
		"no name":         {{}},
		"the same twice":  {{Name: "a"}, {Name: "a"}},
		"an unknown kind": {{Name: "a", Indexes: []driver.Index{{Name: "x"}}}},
		"a taken name":    {{Name: "a", Indexes: []driver.Index{{Name: "id", Kind: driver.Int}}}},
		"an index twice":  {{Name: "a", Indexes: []driver.Index{{Name: "x", Kind: driver.Int}, {Name: "x", Kind: driver.Int}}}},
	} {
		if err := New(Options{Name: "test", Closed: errors.New("closed")}).Register(t.Context(), collections); !errors.Is(err, uow.ErrConfig) {
			t.Errorf("%s: got %v, want ErrConfig", name, err)
		}
	}
}

func TestEndedTransactions(t *testing.T) {
	s := opened(t)
	x := begin(t, s)
	if err := x.Commit(t.Context(), &driver.ChangeSet{}); err != nil {
		t.Fatal(err)
	}
	if err := x.Commit(t.Context(), &driver.ChangeSet{}); err == nil {
		t.Error("a second Commit should fail")
	}
	if _, err := x.Get(t.Context(), "rows", nil); err == nil {
		t.Error("Get after Commit should fail")
	}
	if err := errors.Join(x.Rollback(), x.Rollback()); err != nil {
		t.Errorf("Rollback after Commit: %v", err)
	}

	failed := begin(t, s)
	conflict := failed.Flush(t.Context(), &driver.ChangeSet{Checks: []driver.Check{{Collection: "rows", ID: "a", Version: 1}}})
	if err := failed.Commit(t.Context(), &driver.ChangeSet{}); conflict == nil || !errors.Is(err, conflict) {
		t.Errorf("Commit after a failed Flush: got %v, want %v", err, conflict)
	}
}

func TestCancelledContexts(t *testing.T) {
	s := opened(t)
	x := begin(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, beginErr := s.Begin(ctx, driver.TxOptions{})
	_, getErr := x.Get(ctx, "rows", nil)
	_, findErr := x.Find(ctx, "rows", driver.Query{})
	_, _, scanErr := s.Scan(ctx, outbox.Query{Limit: 1})
	_, statsErr := s.Stats(ctx)
	for i, err := range []error{beginErr, getErr, findErr, scanErr, statsErr, x.Flush(ctx, &driver.ChangeSet{}), x.Commit(ctx, &driver.ChangeSet{})} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %d: got %v, want context.Canceled", i, err)
		}
	}
}

func TestBadChangeSets(t *testing.T) {
	for name, w := range map[string]driver.Write{
		"an unknown collection":  {Op: driver.Insert, Collection: "nobody", ID: "a"},
		"too many index values":  {Op: driver.Insert, Collection: "rows", ID: "a", Indexes: []driver.Value{nil}},
		"an update of no row":    {Op: driver.Update, Collection: "rows", ID: "a", Expected: 1},
		"a delete of no row":     {Op: driver.Delete, Collection: "rows", ID: "a", Expected: 1},
		"an insert over nothing": {Op: driver.Insert, Collection: "rows", ID: "a", Expected: 1},
	} {
		s := opened(t)
		if err := begin(t, s).Commit(t.Context(), &driver.ChangeSet{Writes: []driver.Write{w}}); err == nil {
			t.Errorf("%s should be refused", name)
		}
		if len(s.tables["rows"].rows) != 0 || s.commits != 0 {
			t.Errorf("%s left something", name)
		}
	}
}

func TestDisposableRowsLeaveNothing(t *testing.T) {
	s := New(Options{Name: "test", Closed: errors.New("closed")})
	if err := s.Register(t.Context(), []driver.Collection{{Name: "rows", Disposable: true}, {Name: "others"}}); err != nil {
		t.Fatal(err)
	}
	commit := func(writes ...driver.Write) {
		t.Helper()
		if err := begin(t, s).Commit(t.Context(), &driver.ChangeSet{Writes: writes}); err != nil {
			t.Fatal(err)
		}
	}
	insert := driver.Write{Op: driver.Insert, Collection: "rows", ID: "a", Version: 1}
	update := driver.Write{Op: driver.Update, Collection: "rows", ID: "a", Expected: 1, Version: 2}
	remove := driver.Write{Op: driver.Delete, Collection: "rows", ID: "a", Expected: 2, Version: 3}
	commit(insert)
	commit(update)
	reader := begin(t, s)
	get(t, reader, "a")
	commit(remove)
	if _, kept := s.tables["rows"].rows["a"]; !kept {
		t.Error("a removed row is gone that a snapshot still sees")
	}
	get(t, reader, "a")
	_ = reader.Rollback()
	if n := len(s.tables["rows"].rows); n != 0 || len(s.garbage) != 0 {
		t.Errorf("%d rows and %d garbage are left, want nothing", n, len(s.garbage))
	}

	// Added and removed by one transaction, and without any reader.
	insert.ID, remove.ID = "b", "b"
	x := begin(t, s)
	if err := x.Flush(t.Context(), &driver.ChangeSet{Writes: []driver.Write{insert}}); err != nil {
		t.Fatal(err)
	}
	remove.Expected, remove.Version = 1, 2
	if err := x.Commit(t.Context(), &driver.ChangeSet{Writes: []driver.Write{remove}}); err != nil {
		t.Fatal(err)
	}
	insert.ID, remove.ID = "c", "c"
	commit(insert)
	commit(remove)
	if n := len(s.tables["rows"].rows); n != 0 || len(s.garbage) != 0 {
		t.Errorf("%d rows and %d garbage are left, want nothing", n, len(s.garbage))
	}
}

func TestUnnestWithoutNest(t *testing.T) {
	x := begin(t, opened(t))
	if err := x.Unnest(false); err == nil {
		t.Error("Unnest with no nested part should fail")
	}
}

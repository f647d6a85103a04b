package mvcc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// fakeJournal keeps what it is given. hold makes Write wait.
type fakeJournal struct {
	mu     sync.Mutex
	writes [][]Change
	fail   error
	refuse error
	hold   chan struct{}
	began  chan struct{}
}

func (j *fakeJournal) Admit(string) error { return j.refuse }

func (j *fakeJournal) Write(changes []*Change) error {
	if j.hold != nil {
		j.began <- struct{}{}
		<-j.hold
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return j.fail
	}
	var copied []Change
	for _, c := range changes {
		copied = append(copied, *c)
	}
	j.writes = append(j.writes, copied)
	return nil
}

func journaled(t *testing.T, j *fakeJournal) *Store {
	t.Helper()
	s := New(Options{Name: "test", Closed: errors.New("closed"), Journal: j})
	err := s.Register(t.Context(), []driver.Collection{{Name: "rows", Indexes: []driver.Index{{Name: "name", Kind: driver.String, Unique: true}}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func insert(id, name string) driver.Write {
	return driver.Write{Op: driver.Insert, Collection: "rows", ID: id, Version: 1, Body: []byte(name), Indexes: []driver.Value{name}}
}

func update(id, name string, expected int64) driver.Write {
	return driver.Write{Op: driver.Update, Collection: "rows", ID: id, Expected: expected, Version: expected + 1, Body: []byte(name), Indexes: []driver.Value{name}}
}

func commit(t *testing.T, s *Store, writes ...driver.Write) error {
	t.Helper()
	cs := &driver.ChangeSet{Unit: "unit", Writes: writes, Messages: []driver.Message{{ID: "m"}}}
	for i, w := range writes {
		if w.Op == driver.Update { // whoever wants its name back gets it
			cs.Releases = append(cs.Releases, driver.Release{Collection: "rows", ID: writes[i].ID})
		}
	}
	return begin(t, s).Commit(context.Background(), cs)
}

// TestAFailedWriteLeavesNothing has the journal fail in the middle of a history,
// and demands that it goes on as if nothing had happened.
func TestAFailedWriteLeavesNothing(t *testing.T) {
	j := &fakeJournal{}
	s := journaled(t, j)
	if err := commit(t, s, insert("a", "x"), insert("b", "y")); err != nil {
		t.Fatal(err)
	}
	reader := begin(t, s)
	get(t, reader, "a")
	j.fail = errors.New("no room")
	swap := []driver.Write{update("a", "y", 1), update("b", "x", 1), insert("c", "z")}
	if err := commit(t, s, swap...); !errors.Is(err, j.fail) {
		t.Fatalf("got %v, want what the journal returned", err)
	}
	if _, err := s.Acquire(t.Context(), outbox.Claim{Cursor: "relay", Force: true}); !errors.Is(err, j.fail) {
		t.Fatalf("got %v, want what the journal returned", err)
	}
	if stats, err := s.Stats(t.Context()); err != nil || stats.End != 1 || len(stats.Cursors) != 0 {
		t.Errorf("got %+v, %v, want one message and no cursor", stats, err)
	}
	if n := len(s.garbage); n != 0 {
		t.Errorf("%d garbage is left of what never was", n)
	}
	x := begin(t, s)
	if a, b := get(t, x, "a"), get(t, x, "b"); a != "x" || b != "y" {
		t.Errorf("the rows are %s and %s, want x and y", a, b)
	}
	_ = x.Rollback()
	j.fail = nil
	if err := commit(t, s, insert("d", "x")); !errors.Is(err, driver.ErrDuplicate) {
		t.Errorf("a value that was not given up was taken: %v", err)
	}
	if err := commit(t, s, swap...); err != nil {
		t.Fatalf("the same again, when there is room: %v", err)
	}
	if got := get(t, reader, "a"); got != "x" {
		t.Errorf("an old snapshot sees %s, want x", got)
	}
	_ = reader.Rollback()
	last := j.writes[len(j.writes)-1][0]
	if len(last.Rows) != 3 || last.Rows[0].Version != 2 || len(last.Messages) != 1 || last.Messages[0].Position != 2 {
		t.Errorf("the journal got %+v, want three rows and the message 2", last)
	}
}

// TestNothingIsSeenBeforeItIsDurable looks at the store while the journal writes.
func TestNothingIsSeenBeforeItIsDurable(t *testing.T) {
	j := &fakeJournal{hold: make(chan struct{}), began: make(chan struct{})}
	s := journaled(t, j)
	done := make(chan error)
	go func() { done <- commit(t, s, insert("a", "x")) }()
	<-j.began
	x := begin(t, s)
	if rows, err := x.Get(t.Context(), "rows", []string{"a"}); err != nil || len(rows) != 0 {
		t.Errorf("got %v, %v before the journal had it", rows, err)
	}
	_ = x.Rollback()
	if messages, _, err := s.Scan(t.Context(), outbox.Query{Limit: 10}); err != nil || len(messages) != 0 {
		t.Errorf("got %v, %v before the journal had it", messages, err)
	}
	j.hold <- struct{}{}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	x = begin(t, s)
	if got := get(t, x, "a"); got != "x" {
		t.Errorf("got %s, want x", got)
	}
}

// TestAGroupSharesAWrite has many wait while one writes. Each is decided by itself,
// against those before it.
func TestAGroupSharesAWrite(t *testing.T) {
	j := &fakeJournal{hold: make(chan struct{}), began: make(chan struct{})}
	s := journaled(t, j)
	const others = 20
	outcomes := make(chan error, others+1)
	start := func(w driver.Write) { go func() { outcomes <- commit(t, s, w) }() }
	start(insert("first", "first"))
	<-j.began
	for i := range others { // two of each
		start(insert(fmt.Sprint(i/2), fmt.Sprint(i/2)))
	}
	for waiting := 0; waiting < others; {
		s.group.mu.Lock()
		waiting = len(s.group.queue)
		s.group.mu.Unlock()
	}
	j.hold <- struct{}{}
	<-j.began
	j.hold <- struct{}{}
	failed := 0
	for range others + 1 {
		switch err := <-outcomes; {
		case errors.Is(err, driver.ErrConflict):
			failed++
		case err != nil:
			t.Fatal(err)
		}
	}
	if len(j.writes) != 2 || len(j.writes[1]) != others/2 || failed != others/2 {
		t.Errorf("%d writes, the last of %d changes, and %d conflicts; want 2, %d and %d", len(j.writes), len(j.writes[1]), failed, others/2, others/2)
	}
	if stats, err := s.Stats(t.Context()); err != nil || stats.End != others/2+1 {
		t.Errorf("got %+v, %v, want %d messages", stats, err, others/2+1)
	}
}

// TestChangesOfTheLogDoNotShareAWrite: what one of them does is seen by the next
// only when it is durable.
func TestChangesOfTheLogDoNotShareAWrite(t *testing.T) {
	j := &fakeJournal{}
	s := journaled(t, j)
	var wg sync.WaitGroup
	var mu sync.Mutex
	epochs := map[int64]bool{}
	for range 16 {
		wg.Go(func() {
			lease, err := s.Acquire(context.Background(), outbox.Claim{Cursor: "relay", Force: true})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			epochs[lease.Epoch] = true
		})
	}
	wg.Wait()
	if len(epochs) != 16 || len(j.writes) != 16 {
		t.Errorf("%d epochs and %d writes, want 16", len(epochs), len(j.writes))
	}
}

func TestDoubtIsOnlyTheirsWhoWereWritten(t *testing.T) {
	j := &fakeJournal{hold: make(chan struct{}), began: make(chan struct{})}
	s := journaled(t, j)
	first := make(chan error)
	go func() { first <- commit(t, s, insert("first", "first")) }()
	<-j.began
	outcomes := make(chan error, 2)
	for range 2 {
		go func() { outcomes <- commit(t, s, insert("a", "a")) }()
	}
	for waiting := 0; waiting < 2; {
		s.group.mu.Lock()
		waiting = len(s.group.queue)
		s.group.mu.Unlock()
	}
	j.hold <- struct{}{}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	<-j.began
	j.mu.Lock()
	j.fail = driver.ErrInDoubt
	j.mu.Unlock()
	j.hold <- struct{}{}
	got := map[bool]int{}
	for range 2 {
		err := <-outcomes
		got[errors.Is(err, driver.ErrInDoubt)]++
		if err == nil || errors.Is(err, driver.ErrInDoubt) == errors.Is(err, driver.ErrConflict) {
			t.Errorf("got %v, want doubt or a conflict", err)
		}
	}
	if got[true] != 1 {
		t.Errorf("%d units are in doubt, want the one that was written", got[true])
	}
}

func TestClosedBehindAJournal(t *testing.T) {
	s := journaled(t, &fakeJournal{})
	open := begin(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	closed := s.options.Closed
	errs := []error{open.Commit(t.Context(), &driver.ChangeSet{Writes: []driver.Write{insert("a", "a")}}), s.Decide(func() {})}
	_, err := s.Acquire(t.Context(), outbox.Claim{Cursor: "relay", Force: true})
	errs = append(errs, err, s.Settle(t.Context(), outbox.Lease{}, outbox.Settlement{}))
	for i, err := range errs {
		if !errors.Is(err, closed) {
			t.Errorf("call %d: got %v, want %v", i, err, closed)
		}
	}
}

// TestTheGate: who has locked rows commits alone, and is not kept
// waiting by a stream of commits.
func TestTheGate(t *testing.T) {
	var g gate
	ctx, cancel := context.WithCancel(t.Context())
	if err := errors.Join(g.enter(ctx, shared), g.enter(ctx, shared)); err != nil {
		t.Fatal(err)
	}
	entered := make(chan error)
	go func() { entered <- g.enter(context.Background(), alone) }()
	for waiting := 0; waiting < 1; {
		g.mu.Lock()
		waiting = g.waiting
		g.mu.Unlock()
	}
	late := make(chan error)
	go func() { late <- g.enter(ctx, shared) }()
	g.leave(shared)
	g.leave(shared)
	if err := <-entered; err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-late:
		t.Fatalf("a commit went by one who waited for the lock: %v", err)
	default:
	}
	cancel()
	if err := <-late; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	g.leave(alone)
	if err := g.enter(t.Context(), shared); err != nil || g.shared != 1 || g.alone || g.waiting != 0 || g.changed != nil {
		t.Errorf("%v, %+v", err, &g)
	}
}

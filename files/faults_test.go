package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// failing makes operations that match fail, as often as it says.
func failing(times int, err error, match func(op, name string) bool) func(op, name string) error {
	return func(op, name string) error {
		if times == 0 || !match(op, name) {
			return nil
		}
		times--
		return err
	}
}

func on(op, prefix string) func(string, string) bool {
	return func(o, name string) bool { return o == op && strings.HasPrefix(name, prefix) }
}

// nothing drops everything that was not synced.
func nothing(int) bool { return false }

func simOpened(t *testing.T, w *world, d disk) *simulated {
	t.Helper()
	s, err := w.open(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

func (s *simulated) mustDigest(t *testing.T) string {
	t.Helper()
	got, err := s.digest()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestFullDisk: a unit for which the journal has no room fails and leaves nothing,
// not even in the middle of its line, and the next one goes well when there is room.
func TestFullDisk(t *testing.T) {
	w, d := newWorld(), newSimDisk()
	s := simOpened(t, w, d)
	if err := adding("a")(s); err != nil {
		t.Fatal(err)
	}
	d.fail = failing(1, syscall.ENOSPC, on("write", journals))
	err := adding("b")(s)
	if !errors.Is(err, ErrFull) || errors.Is(err, uow.ErrInDoubt) || !strings.Contains(err.Error(), journalName(2)) {
		t.Fatalf("got %v, want ErrFull with the file's name", err)
	}
	for what, left := range map[string]*simDisk{"a kill": d.copy(), "a power loss": first(d.crash(subset(nothing)))} {
		if got := simOpened(t, w, left).mustDigest(t); strings.Contains(got, "documents/b") || !strings.Contains(got, "documents/a") {
			t.Errorf("after %s: %s", what, got)
		}
	}
	if err := errors.Join(changing("a")(s), adding("b")(s), s.keeper.apply()); err != nil {
		t.Fatalf("when there is room again: %v", err)
	}
	if got := simOpened(t, w, first(d.crash(subset(nothing)))).mustDigest(t); got != s.mustDigest(t) {
		t.Errorf("got %s, want %s", got, s.mustDigest(t))
	}
}

func first[A, B any](a A, _ B) A { return a }

// TestFailedCut: a line that could be neither written nor cut off ends all commits,
// since nothing may be written behind it; the unit did not happen.
func TestFailedCut(t *testing.T) {
	w, d := newWorld(), newSimDisk()
	s := simOpened(t, w, d)
	d.fail = failing(2, syscall.EIO, func(op, name string) bool {
		return (op == "write" || op == "cut") && strings.HasPrefix(name, journals)
	})
	if err := adding("a")(s); !errors.Is(err, syscall.EIO) || errors.Is(err, uow.ErrInDoubt) {
		t.Errorf("got %v, want the disk's error and no doubt", err)
	}
	if err := adding("b")(s); !errors.Is(err, ErrBroken) {
		t.Errorf("got %v, want ErrBroken", err)
	}
	if err := errors.Join(adding("b")(simOpened(t, w, d.copy()))); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

// TestFailedSync: after a sync that failed nobody knows, so the unit is in doubt and
// the store refuses to commit; the next to open the directory decides, for good, even
// though the system still shows it what the disk does not have.
func TestFailedSync(t *testing.T) {
	w, d := newWorld(), newSimDisk()
	s := simOpened(t, w, d)
	if err := adding("a")(s); err != nil {
		t.Fatal(err)
	}
	d.fail = failing(1, syscall.EIO, on("sync", journals))
	err := adding("b")(s)
	var doubt *uow.InDoubtError
	if !errors.As(err, &doubt) || !errors.Is(err, ErrBroken) {
		t.Fatalf("got %v, want an *InDoubtError because of ErrBroken", err)
	}
	if err := adding("c")(s); !errors.Is(err, ErrBroken) || errors.Is(err, uow.ErrInDoubt) {
		t.Errorf("a unit after it: got %v, want ErrBroken", err)
	}
	if _, err := s.Acquire(t.Context(), outbox.Claim{Cursor: "relay", Force: true}); !errors.Is(err, ErrBroken) {
		t.Errorf("a cursor after it: got %v, want ErrBroken", err)
	}
	if _, err := s.db.Resolve(t.Context(), doubt.Unit); !errors.Is(err, ErrBroken) {
		t.Errorf("Resolve: got %v, want ErrBroken", err)
	}
	if err := s.keeper.apply(); !errors.Is(err, ErrBroken) {
		t.Errorf("writing files: got %v, want ErrBroken", err)
	}
	if got := s.mustDigest(t); strings.Contains(got, "documents/b") {
		t.Errorf("what is in doubt can be read: %s", got)
	}
	for what, next := range map[string]*simDisk{"another process": d.copy(), "a power loss": first(d.crash(subset(nothing)))} {
		again := simOpened(t, w, next)
		committed, err := again.db.Resolve(t.Context(), doubt.Unit)
		if has := strings.Contains(again.mustDigest(t), "documents/b"); err != nil || has != committed || committed != (what == "another process") {
			t.Errorf("after %s: Resolve says %v, %v, and the row is there: %v", what, committed, err, has)
		}
		if err := adding("c")(again); err != nil {
			t.Fatal(err)
		}
		last := simOpened(t, w, first(next.crash(subset(nothing))))
		still, err := last.db.Resolve(t.Context(), doubt.Unit)
		if has := strings.Contains(last.mustDigest(t), "documents/b"); err != nil || still != committed || has != committed {
			t.Errorf("after %s and a power loss: Resolve says %v, %v, and the row is there: %v; it was said to be %v", what, still, err, has, committed)
		}
	}
}

// TestEachFailure has each operation of a history fail once, and demands that the history has the same end: what failed has not
// happened, or is in doubt and decided by the next process, and can be done again.
func TestEachFailure(t *testing.T) {
	w := newWorld()
	digests := w.history(t)
	total := func() int {
		d := newSimDisk()
		s := simOpened(t, w, d)
		for _, step := range steps() {
			_ = step(s)
		}
		return d.ops
	}()
	if total < 200 {
		t.Fatalf("%d operations, want 200 at least", total)
	}
	failures, every := 0, 1
	if testing.Short() {
		every = 5
	}
	for at := 1; at <= total; at += every {
		with := []error{syscall.ENOSPC, syscall.EIO}[at%2]
		failed, err := w.historyWith(digests, at, with)
		if err != nil {
			t.Fatalf("operation %d fails with %v: %v", at, with, err)
		}
		if failed {
			failures++
		}
	}
	t.Logf("%d failures at %d operations", failures, total)
	if failures < total/every*3/4 {
		t.Errorf("%d failures were seen, want %d at least", failures, total/every*3/4)
	}
}

// historyWith runs the history with a failure at an operation. failed reports
// whether anybody was told.
func (w *world) historyWith(digests []string, at int, with error) (failed bool, err error) {
	d := newSimDisk()
	d.fail = func(op, _ string) error {
		if op != "read" && d.ops == at {
			return with
		}
		return nil
	}
	s, err := w.open(d)
	if err != nil {
		failed = true
		if s, err = w.open(d); err != nil {
			return true, err
		}
	}
	defer func() { s.stop() }()
	for i, step := range steps() {
		if step(s) != nil {
			failed = true
			if s, err = w.again(s, d, step, digests[i:i+2]); err != nil {
				return true, err
			}
		}
		if d.ops < at || d.ops > at+60 && i < len(digests)-2 {
			continue
		}
		for what, left := range map[string]*simDisk{"a kill": d.copy(), "a power loss": first(d.crash(subset(nothing)))} {
			got, err := w.digestAfter(left)
			if err == nil && got != digests[i+1] {
				err = errors.New("got\n" + got + "\nwant\n" + digests[i+1])
			}
			if err != nil {
				return failed, fmt.Errorf("after step %d and %s: %w", i, what, err)
			}
		}
	}
	return failed, nil
}

// again does a step that has failed, unless it has happened. digests are those
// before it and after.
func (w *world) again(s *simulated, d *simDisk, step step, digests []string) (*simulated, error) {
	if s.keeper.failed() != nil {
		s.stop()
		var err error
		if s, err = w.reopen(s, d); err != nil {
			return s, err
		}
	}
	if got, err := w.digestAfter(d.copy()); err != nil || got == digests[1] && got != digests[0] {
		return s, err
	}
	return s, step(s)
}

// reopen opens the disk of a store that is broken, and learns the lease anew.
func (w *world) reopen(s *simulated, d disk) (*simulated, error) {
	again, err := w.open(d)
	if err != nil {
		return s, err
	}
	again.leases = s.leases
	stats, err := again.Stats(context.Background())
	for _, c := range stats.Cursors {
		again.leases[c.Cursor] = outbox.Lease{Cursor: c.Cursor, Epoch: c.Epoch, Position: c.Position, Log: stats.Log}
	}
	return again, err
}

// TestUnreadable: what can't be read is an error that names it.
func TestUnreadable(t *testing.T) {
	w, d := newWorld(), newSimDisk()
	s := simOpened(t, w, d)
	if err := errors.Join(adding("a")(s), s.keeper.apply()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{formatFile, stateFile, unitsFile, segmentName(1), journalName(3), place(key{"documents", "a"})} {
		next := d.copy()
		next.fail = failing(1, fs.ErrPermission, func(op, n string) bool { return op == "read" && n == name })
		before := next.names()
		if _, err := w.open(next); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want fs.ErrPermission with the name", name, err)
		}
		if after := next.names(); name != place(key{"documents", "a"}) && !slices.Equal(before, after) {
			t.Errorf("%s: a failed Open has changed something: before %v, after %v", name, before, after)
		}
	}
}

// names lists all files, with their contents.
func (d *simDisk) names() (names []string) {
	var visit func(name string, n *simNode)
	visit = func(name string, n *simNode) {
		if !n.dir {
			names = append(names, name+" "+string(n.data))
		}
		for base, child := range n.entries {
			visit(name+"/"+base, child)
		}
	}
	visit("", d.root)
	slices.Sort(names)
	return names
}

package files

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// everyOperation makes TestPowerLoss thorough, with 1, or faster.
var everyOperation = flag.Int("every", 3, "look at what a power loss leaves at every n-th operation of the disk")

// simulated is a store on a simulated disk.
type simulated struct {
	*Store
	db      *uow.DB
	docs    *uow.Collection[document]
	scratch *uow.Collection[document] // disposable
	leases  map[string]outbox.Lease
}

func epoch() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// world has what all stores of a test share.
type world struct{ docs, scratch *uow.Collection[document] }

func newWorld() *world {
	return &world{newDocuments(), uow.Define(uow.CollectionConfig[document]{Name: "scratch", Disposable: true})}
}

// open opens the store that a simulated disk has. Files are written only when a
// test says so, and often begin anew.
func (w *world) open(d disk) (*simulated, error) {
	k, engine, err := openKeeper(Options{Delay: time.Hour, SegmentSize: 400, writers: 1, Logger: slog.New(slog.DiscardHandler)}.withDefaults(), d)
	if err != nil {
		return nil, err
	}
	s := &simulated{
		Store:   &Store{Store: engine, keeper: k},
		docs:    w.docs,
		scratch: w.scratch,
		leases:  map[string]outbox.Lease{},
	}
	s.db, err = uow.Open(context.Background(), s.Store, uow.Config{
		Collections:    []uow.AnyCollection{s.docs, s.scratch},
		Now:            epoch,
		ResolveTimeout: time.Nanosecond,
	})
	return s, err
}

// stop ends a store whose disk goes on without it.
func (s *simulated) stop() {
	s.keeper.mu.Lock()
	defer s.keeper.mu.Unlock()
	s.keeper.closed = true
	if s.keeper.timer != nil {
		s.keeper.timer.Stop()
	}
}

// digest describes everything that is stored.
func (s *simulated) digest() (string, error) {
	var out strings.Builder
	for _, kind := range []string{collections, removed} {
		for _, collection := range []string{"documents", "scratch"} {
			if err := s.digestRows(&out, kind+"/"+collection); err != nil {
				return "", err
			}
		}
	}
	messages, _, err := s.Scan(context.Background(), outbox.Query{Limit: 1000})
	if err != nil {
		return "", err
	}
	for _, m := range messages {
		fmt.Fprintf(&out, "message %d %s %s %s %d %s\n", m.Position, m.ID, m.Type, m.Key, m.Sequence, m.Payload)
	}
	stats, err := s.Stats(context.Background())
	if err != nil {
		return "", err
	}
	stats.Log = "" // a directory that was not finished is made anew, by another one
	fmt.Fprintf(&out, "%+v\n", stats)
	for _, c := range stats.Cursors {
		held, err := s.Held(context.Background(), c.Cursor, outbox.HeldFilter{})
		if err != nil {
			return "", err
		}
		for _, h := range held {
			fmt.Fprintf(&out, "held %+v\n", h.Hold)
		}
	}
	return out.String(), nil
}

func (s *simulated) digestRows(out *strings.Builder, dir string) error {
	entries, err := s.keeper.disk.List(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		content, err := s.keeper.disk.Read(dir + "/" + entry.Name())
		if err != nil {
			return err
		}
		r, err := decode(content)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s/%s %d %d %s %s\n", dir, r.id, r.version, r.sequence, r.indexes, r.body)
	}
	return nil
}

// step is something that is all there after a crash, or not at all.
type step func(s *simulated) error

func unit(fn func(ctx context.Context, u *uow.Unit, s *simulated) error) step {
	return func(s *simulated) error {
		return s.db.Do(context.Background(), func(ctx context.Context, u *uow.Unit) error { return fn(ctx, u, s) })
	}
}

// adding adds documents, with a message for each.
func adding(ids ...string) step {
	return unit(func(_ context.Context, u *uow.Unit, s *simulated) error {
		for _, id := range ids {
			m := outbox.Message{ID: "added " + id, Type: "Added", Key: id, Payload: []byte(`{"id":"` + id + `"}`), Headers: map[string]string{"a": "b"}}
			if err := errors.Join(s.docs.In(u).Add(&document{ID: id, Note: "of " + id}), outbox.Append(u, m)); err != nil {
				return err
			}
		}
		return nil
	})
}

// changing changes documents.
func changing(ids ...string) step {
	return unit(func(ctx context.Context, u *uow.Unit, s *simulated) error {
		for _, id := range ids {
			d, err := s.docs.In(u).Get(ctx, id)
			if err != nil {
				return err
			}
			d.Count++
			d.Note += "\nand more" // with what JSON must escape: "\u2028"
		}
		return nil
	})
}

func removing(ids ...string) step {
	return unit(func(ctx context.Context, u *uow.Unit, s *simulated) error {
		for _, id := range ids {
			d, err := s.docs.In(u).Get(ctx, id)
			if err := errors.Join(err, s.docs.In(u).Remove(d)); err != nil {
				return err
			}
		}
		return nil
	})
}

func scratching(remove bool) step {
	return unit(func(ctx context.Context, u *uow.Unit, s *simulated) error {
		if !remove {
			return s.scratch.In(u).Add(&document{ID: "Scratch/1"})
		}
		d, err := s.scratch.In(u).Get(ctx, "Scratch/1")
		return errors.Join(err, s.scratch.In(u).Remove(d))
	})
}

func acquiring(s *simulated) (err error) {
	s.leases["relay"], err = s.Acquire(context.Background(), outbox.Claim{Cursor: "relay", Force: true})
	return err
}

func settling(settlement outbox.Settlement) step {
	return func(s *simulated) error {
		return s.Settle(context.Background(), s.leases["relay"], settlement)
	}
}

func trimming(s *simulated) error {
	_, err := s.Trim(context.Background(), epoch().Add(time.Hour), 2)
	return err
}

func applying(s *simulated) error { return s.keeper.apply() }

// meanwhile has a step go on while files are written.
func meanwhile(during step) step {
	return func(s *simulated) error {
		inner := s.keeper.disk.disk
		defer func() { s.keeper.disk.disk = inner }()
		hook := &hookDisk{disk: inner, hook: func() error { return during(s) }}
		s.keeper.disk.disk = hook
		err := s.keeper.apply()
		if err == nil && hook.hook != nil { // there was nothing to write
			return during(s)
		}
		return errors.Join(err, hook.err)
	}
}

// hookDisk calls its hook when the first row's file is in its place.
type hookDisk struct {
	disk
	hook func() error
	err  error
}

func (d *hookDisk) Rename(from, to string) error {
	err := d.disk.Rename(from, to)
	if hook := d.hook; hook != nil && strings.HasPrefix(to, collections) {
		d.hook = nil
		d.err = hook()
	}
	return err
}

// steps are a history in which everything happens, and files are written between.
func steps() []step {
	hold := func(position int64, state outbox.HoldState) outbox.Hold {
		return outbox.Hold{Position: position, Key: "a", State: state, Attempts: 1, NextAt: epoch(), Reason: "no", Since: epoch()}
	}
	return []step{
		adding("a", "B"), applying, changing("a"), changing("a", "B"), adding("c"), applying,
		acquiring, settling(outbox.Settlement{Position: 2, Hold: []outbox.Hold{hold(1, outbox.Parked)}}),
		removing("B"), scratching(false), applying, adding("d", "e", "f"), adding("B"), applying,
		settling(outbox.Settlement{Position: 5, Hold: []outbox.Hold{hold(4, outbox.Retrying)}, Release: []int64{1}}),
		trimming, scratching(true), applying, changing("B", "c", "d"), trimming, removing("a", "d"), applying,
		func(s *simulated) error { _, err := s.Discard(context.Background(), "relay", []int64{4}); return err },
		settling(outbox.Settlement{Position: 7}), trimming, trimming, adding("a"), applying, changing("a"),
		func(s *simulated) error { return s.Drop(context.Background(), "relay") }, acquiring, applying, changing("a"),
		meanwhile(adding("g")), applying, adding("h"), meanwhile(changing("g", "h")), adding("i"), changing("h"),
	}
}

// history is what the states are after each step.
func (w *world) history(t *testing.T) (digests []string) {
	t.Helper()
	d := newSimDisk()
	s, err := w.open(d)
	for i, step := range append([]step{func(*simulated) error { return nil }}, steps()...) {
		if err == nil {
			err = step(s)
		}
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		got, err := w.digestAfter(d.copy())
		if err != nil {
			t.Fatalf("after step %d: %v", i, err)
		}
		digests = append(digests, got)
	}
	s.stop()
	return digests
}

func (w *world) digestAfter(d *simDisk) (string, error) {
	s, err := w.open(d)
	if err != nil {
		return "", err
	}
	defer s.stop()
	return s.digest()
}

// TestPowerLoss runs a history and at each operation of the disk looks at what a
// power loss could leave: what was acknowledged is there, and what was not is there
// as a whole or not at all; and the store goes on from there. It also looks at a
// power loss after a kill, while the next process recovers.
func TestPowerLoss(t *testing.T) {
	w := newWorld()
	digests := w.history(t)
	d := newSimDisk()
	done, crashes, every := 0, 0, *everyOperation
	if testing.Short() {
		every *= 3
	}
	random := rand.New(rand.NewPCG(1, 2))
	check := func(what string, left *simDisk) {
		crashes++
		got, err := w.goOn(left)
		if err != nil {
			t.Fatalf("before operation %d, in step %d, %s: %v", d.ops, done, what, err)
		}
		if allowed := digests[done:min(done+2, len(digests))]; !slices.Contains(allowed, got) {
			t.Fatalf("before operation %d, in step %d, %s: got\n%s\nwant\n%s", d.ops, done, what, got, strings.Join(allowed, "\nor\n"))
		}
	}
	d.before = func() {
		if d.ops%every != 0 {
			return
		}
		_, pending := d.crash(subset(func(int) bool { return true }))
		for i, f := range fates(pending, random) {
			left, _ := d.crash(f)
			check(fmt.Sprintf("fate %d of %d pending", i, pending), left)
		}
		for i := range 2 {
			check(fmt.Sprint("power loss in a recovery, ", i), w.lossInRecovery(d.copy(), random))
		}
	}
	s, err := w.open(d)
	for i, step := range steps() {
		if err == nil {
			err = step(s)
		}
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		done++
	}
	s.stop()
	if least := 15 * d.ops / every; crashes < least {
		t.Errorf("%d crashes were looked at, want %d at least", crashes, least)
	}
	t.Logf("%d crashes at %d operations", crashes, d.ops)
}

// goOn opens what was left and describes it, and demands that it can be used and
// opened again.
func (w *world) goOn(left *simDisk) (digest string, err error) {
	s, err := w.open(left)
	if err != nil {
		return "", err
	}
	defer s.stop()
	if digest, err = s.digest(); err != nil {
		return "", err
	}
	if err := adding("afterwards")(s); err != nil {
		return "", fmt.Errorf("a commit after recovery: %w", err)
	}
	again, err := w.open(left.copy())
	if err != nil {
		return "", fmt.Errorf("opening once more: %w", err)
	}
	defer again.stop()
	got, err := again.digest()
	if err == nil && (!strings.Contains(got, "documents/afterwards ") || !strings.Contains(got, "added afterwards")) {
		err = fmt.Errorf("a commit after recovery is lost: %s", got)
	}
	return digest, err
}

// lossInRecovery has a process recover what a killed one has left, and the power
// fail meanwhile.
func (w *world) lossInRecovery(d *simDisk, random *rand.Rand) (left *simDisk) {
	stop := 1 + random.IntN(30)
	fate := fates(0, random)[random.IntN(12)]
	d.before = func() {
		if d.ops == stop {
			left, _ = d.crash(fate)
		}
	}
	if s, err := w.open(d); err == nil {
		s.stop()
	}
	d.before = nil
	if left == nil {
		left, _ = d.crash(fate)
	}
	return left
}

// TestHistory makes sure that the history of these tests has everything in it.
func TestHistory(t *testing.T) {
	w := newWorld()
	digests := w.history(t)
	distinct := maps.Collect(func(yield func(string, bool) bool) {
		for _, d := range digests {
			yield(d, true)
		}
	})
	for _, want := range []string{"removed/documents/B 3 ", "documents/B 5 ", "scratch/Scratch/1", "held {Position:4", "State:parked", "message 8 ", "Epoch:2"} {
		if !slices.ContainsFunc(digests, func(d string) bool { return strings.Contains(d, want) }) {
			t.Errorf("no state has %q; the last is\n%s", want, digests[len(digests)-1])
		}
	}
	if len(distinct) < 20 {
		t.Errorf("%d different states, want 20 at least", len(distinct))
	}
}

var _ driver.Store = simulated{}

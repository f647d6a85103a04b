package uow_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
)

type spanKey struct{}

// recording is an Observer that remembers what it was told.
type recording struct {
	mu       sync.Mutex
	started  []uow.UnitStart
	attempts []uow.Attempt
	reports  []uow.UnitReport
	strange  int // calls whose context is not what UnitStarted returned
	headers  map[string]string
}

func (r *recording) UnitStarted(ctx context.Context, s uow.UnitStart) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = append(r.started, s)
	return context.WithValue(ctx, spanKey{}, r)
}

func (r *recording) AttemptEnded(ctx context.Context, a uow.Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts = append(r.attempts, a)
	r.check(ctx)
}

func (r *recording) UnitEnded(ctx context.Context, report uow.UnitReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, report)
	r.check(ctx)
}

func (r *recording) MessageHeaders(ctx context.Context) map[string]string {
	r.check(ctx)
	return r.headers
}

func (r *recording) check(ctx context.Context) {
	if ctx.Value(spanKey{}) != any(r) {
		r.strange++
	}
}

// outcomes returns those of the attempts and of the units.
func (r *recording) outcomes() string {
	var all []string
	for _, a := range r.attempts {
		all = append(all, a.Outcome.String())
	}
	all = append(all, "=")
	for _, u := range r.reports {
		all = append(all, u.Last.Outcome.String())
	}
	return strings.Join(all, " ")
}

func (r *recording) want(t *testing.T, outcomes string) {
	t.Helper()
	if got := r.outcomes(); got != outcomes || r.strange > 0 || len(r.started) != len(r.reports) {
		t.Errorf("the observer was told of %d units and %q, %d times with a strange context; want %q",
			len(r.started), got, r.strange, outcomes)
	}
}

// observed returns a desk with an observer that has forgotten what came before.
func observed(t *testing.T, cfg uow.Config, ids ...string) (*desk, *recording) {
	t.Helper()
	r := new(recording)
	cfg.Observers = append(cfg.Observers, r)
	d := newDesk(t, cfg)
	d.add(ids...)
	*r = recording{}
	return d, r
}

func TestObserverIsToldOfCommit(t *testing.T) {
	d, seen := observed(t, uow.Config{}, "a", "b", "c")
	before := time.Now()
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		if ctx.Value(spanKey{}) != any(seen) {
			t.Error("the closure did not get the observer's context")
		}
		found, err := notes.GetMany(ctx, "a", "b", "c")
		if err != nil {
			return err
		}
		found[0].write("new")
		return errors.Join(notes.Remove(found[1]), notes.Require(found[2], 1), notes.Add(&note{ID: "d"}),
			u.Append(uow.Message{Type: "t", Payload: []byte("12345")}))
	})
	seen.want(t, "committed = committed")
	report := seen.reports[0]
	if a := report.Last; a != seen.attempts[0] || report.Attempts != 1 || a.Number != 1 || a.Unit == "" || a.Err != nil {
		t.Errorf("the report %+v is not of its attempt %+v", report, seen.attempts[0])
	}
	want := uow.Changes{Inserted: 1, Updated: 1, Deleted: 1, Checked: 1, Messages: 2, Bytes: report.Last.Bytes}
	if report.Last.Changes != want || want.Bytes < 20 {
		t.Errorf("the changes are told as %+v, want %+v", report.Last.Changes, want)
	}
	if a := report.Last; a.Calls != 3 || a.Store < a.Commit || a.Duration < a.Store || report.Duration < a.Duration || a.At.Before(before) {
		t.Errorf("the times make no sense, or the store was not called for Begin, Get and Commit: %+v", a)
	}
}

func TestObserverIsToldWhyNot(t *testing.T) {
	d, seen := observed(t, uow.Config{}, "a")
	stale := func(_ context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		return notes.Add(&note{ID: "a"})
	}
	if err := d.try(stale); !errors.Is(err, uow.ErrConflict) {
		t.Fatal(err)
	}
	duplicate := fmt.Errorf("told by the closure: %w", &uow.DuplicateError{Collection: "notes", ID: "a", Index: "i"})
	for _, err := range []error{errBoom, duplicate, &uow.InDoubtError{Unit: "of another unit", Err: errBoom}} {
		if got := d.try(func(context.Context, *uow.Unit, *uow.Repository[note]) error { return err }); !errors.Is(got, err) {
			t.Fatal(got)
		}
	}
	func() {
		defer func() { _ = recover() }()
		_ = d.try(func(context.Context, *uow.Unit, *uow.Repository[note]) error { panic("out") })
	}()
	var exits sync.WaitGroup
	exits.Go(func() {
		_ = d.try(func(context.Context, *uow.Unit, *uow.Repository[note]) error { runtime.Goexit(); return nil })
	})
	exits.Wait()
	seen.want(t, "conflict rolled_back duplicate rolled_back rolled_back rolled_back = "+
		"conflict rolled_back duplicate rolled_back rolled_back rolled_back")
	conflict, ok := errors.AsType[*uow.ConflictError](seen.reports[0].Last.Err)
	if !ok || conflict.Collection != "notes" || !errors.Is(seen.reports[1].Last.Err, errBoom) || seen.reports[4].Last.Err == nil {
		t.Errorf("the errors are not told: %+v", seen.reports)
	}
}

func TestObserverIsToldOfAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, seen := observed(t, uow.Config{Retry: uow.Retry{MaxAttempts: 3, Conflicts: true, MinBackoff: time.Hour, MaxBackoff: time.Hour}}, "a")
		runs := 0
		d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
			a, err := notes.Get(ctx, "a")
			if err != nil {
				return err
			}
			a.write(fmt.Sprint(runs))
			time.Sleep(time.Second)
			if runs++; runs < 3 {
				return &uow.ConflictError{Collection: "notes", ID: "a"}
			}
			return nil
		})
		seen.want(t, "conflict conflict committed = committed")
		first, report := seen.attempts[0], seen.reports[0]
		if report.Attempts != 3 || report.Last.Number != 3 || first.Unit == report.Last.Unit || first.Messages != 0 || report.Last.Messages != 1 {
			t.Errorf("the attempts are not told apart: %+v", seen.attempts)
		}
		if first.Duration != time.Second || first.Store != 0 || report.Duration <= 3*time.Second {
			t.Errorf("attempts take a second, their unit the pauses too, the store nothing: %+v, %v", first, report.Duration)
		}
	})
}

func TestObserverIsToldOfBegin(t *testing.T) {
	d, seen := observed(t, uow.Config{}, "a")
	u := d.db.Begin()
	if _, err := d.notes.In(u).Get(t.Context(), "a"); err != nil || len(seen.started) != 1 {
		t.Fatalf("after the first read the observer was told of %d units (%v)", len(seen.started), err)
	}
	if err := errors.Join(u.Append(uow.Message{Type: "t"}), u.Commit(t.Context()), u.Close()); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); !errors.Is(err, uow.ErrUnitClosed) {
		t.Fatal(err)
	}
	seen.want(t, "committed = committed")
	if a := seen.attempts[0]; a.Unit != u.ID() || a.Messages != 1 {
		t.Errorf("the unit was told as %+v", a)
	}
	if err := errors.Join(d.db.Begin().Rollback(t.Context()), d.db.Begin().Close()); err != nil {
		t.Fatal(err)
	}
	conflicting := d.db.Begin()
	if err := errors.Join(d.notes.In(conflicting).Add(&note{ID: "a"}), conflicting.Commit(t.Context())); !errors.Is(err, uow.ErrConflict) {
		t.Fatal(err)
	}
	if err := conflicting.Close(); err != nil {
		t.Fatal(err)
	}
	seen.want(t, "committed rolled_back rolled_back conflict = committed rolled_back rolled_back conflict")
}

func TestObserverIsToldNamesAndViews(t *testing.T) {
	d, seen := observed(t, uow.Config{}, "a")
	reads := d.db.With(uow.UnitOptions{Name: "look"})
	for _, ends := range []error{nil, errBoom} {
		if err := reads.View(t.Context(), func(ctx context.Context, v *uow.View) error {
			if ctx.Value(spanKey{}) != any(seen) {
				t.Error("the view did not get the observer's context")
			}
			_, err := d.notes.From(v).Get(ctx, "a")
			return errors.Join(err, ends)
		}); !errors.Is(err, ends) {
			t.Fatal(err)
		}
	}
	d.do(func(context.Context, *uow.Unit, *uow.Repository[note]) error { return nil })
	seen.want(t, "committed rolled_back committed = committed rolled_back committed")
	first, last := seen.reports[0], seen.reports[2]
	if first.Name != "look" || !first.View || seen.started[1].Name != "look" || last.Name != "" || last.View {
		t.Errorf("names and views are not told apart: %+v, %+v", first, last)
	}
	if first.Last.Commit != 0 || first.Last.Calls != 3 || first.Last.Changes != (uow.Changes{}) {
		t.Errorf("a view should begin, read and roll back: %+v", first.Last)
	}
}

func TestObserverIsToldOfDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			remote  remote
			outcome string
			doubts  int
		}{
			{remote{commits: true}, "committed", 1},
			{remote{commits: false}, "rolled_back", 1},
			{remote{reachable: time.Hour}, "in_doubt", 2},
		} {
			seen := new(recording)
			d := remoteDesk(t, &c.remote, uow.Config{Observers: []uow.Observer{seen}, ResolveTimeout: time.Minute})
			err := d.try(func(_ context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
				return notes.Add(&note{ID: "x"})
			})
			seen.want(t, c.outcome+" = "+c.outcome)
			last := seen.reports[0].Last
			if last.Doubts < c.doubts || (c.doubts > 1) != (last.Commit == time.Minute) || !errors.Is(err, last.Err) {
				t.Errorf("%s: told of %d questions in a commit of %v, and %v", c.outcome, last.Doubts, last.Commit, last.Err)
			}
		}
	})
}

func TestObserverIsToldOfNestedUnitsAndHooks(t *testing.T) {
	d, seen := observed(t, uow.Config{OnHookError: func(context.Context, *uow.HookError) {}})
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		for _, ends := range []error{nil, errBoom, nil} {
			err := u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
				return errors.Join(u.Append(uow.Message{Type: "t"}), u.Flush(ctx), ends,
					u.AfterCommit(func(context.Context) error { return errors.Join(errBoom, errBoom) }),
					u.AfterRollback(func(context.Context, error) error { panic("hook") }))
			})
			if !errors.Is(err, ends) {
				return err
			}
		}
		return nil
	})
	seen.want(t, "committed = committed")
	if a := seen.attempts[0]; a.NestedKept != 2 || a.NestedUndone != 1 || a.FailedHooks != 3 || a.Messages != 2 {
		t.Errorf("want 2 nested units kept with a message each, 1 undone without, 3 failed hooks; told %+v", a)
	}
}

func TestMessagesGetHeadersOfObservers(t *testing.T) {
	d, seen := observed(t, uow.Config{Observers: []uow.Observer{&recording{}}})
	seen.headers = map[string]string{"traceparent": "of the unit", "content-type": "lost"}
	mine := map[string]string{"traceparent": "mine"}
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		a := &note{ID: "a"}
		a.write("event")
		return errors.Join(notes.Add(a), u.Flush(ctx), u.Append(uow.Message{Type: "kept", Headers: mine}, uow.Message{Type: "none"}))
	})
	var got []map[string]string
	for _, m := range d.log() {
		got = append(got, m.Headers)
	}
	want := []map[string]string{
		{"traceparent": "of the unit", "content-type": "application/json"},
		{"traceparent": "mine", "content-type": "lost"},
		{"traceparent": "of the unit", "content-type": "lost"},
	}
	if !reflect.DeepEqual(got, want) || len(mine) != 1 || seen.strange > 0 {
		t.Errorf("the headers are %v, want %v; the user's became %v", got, want, mine)
	}
}

// broken is an Observer that panics whenever it is told anything.
type broken struct{ nothing bool }

func (b broken) UnitStarted(context.Context, uow.UnitStart) context.Context {
	if b.nothing {
		return nil
	}
	panic("start")
}
func (broken) AttemptEnded(context.Context, uow.Attempt)            { panic("attempt") }
func (broken) UnitEnded(context.Context, uow.UnitReport)            { panic("end") }
func (broken) MessageHeaders(ctx context.Context) map[string]string { panic("headers") }

func TestBrokenObserversBreakNothing(t *testing.T) {
	var log bytes.Buffer
	d, seen := observed(t, uow.Config{
		Observers: []uow.Observer{broken{}, broken{nothing: true}},
		Logger:    slog.New(slog.NewTextHandler(&log, nil)),
	})
	log.Reset()
	d.do(func(ctx context.Context, u *uow.Unit, _ *uow.Repository[note]) error {
		return errors.Join(ctx.Err(), u.Append(uow.Message{Type: "t"}))
	})
	seen.want(t, "committed = committed")
	if n := strings.Count(log.String(), "uow: observer failed"); n != 7 || !strings.Contains(log.String(), "panic: headers") {
		t.Errorf("7 panics should be in the log, which has %d:\n%s", n, log.String())
	}
	if len(d.log()) != 1 {
		t.Error("the unit's message is not there")
	}
}

func TestObserversWithNilAreRefused(t *testing.T) {
	_, err := memory.Open(t.Context(), uow.Config{Observers: []uow.Observer{&recording{}, nil}})
	wantError(t, err, uow.ErrConfig, "Observers")
}

func TestObserverOfUnitUsedFromTwoGoroutines(t *testing.T) {
	d, seen := observed(t, uow.Config{})
	for range 50 {
		u := d.db.Begin()
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { _ = u.Commit(t.Context()) })
			both.Go(func() { _ = u.Close() })
		}
		both.Wait()
	}
	if len(seen.started) != 50 || len(seen.attempts) != 50 || len(seen.reports) != 50 {
		t.Errorf("50 units were told of as %d starts, %d attempts, %d ends", len(seen.started), len(seen.attempts), len(seen.reports))
	}
}

func TestLogObserver(t *testing.T) {
	var log bytes.Buffer
	plain := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case "time", "unit", "duration", "store", "commit", "bytes":
			return slog.Attr{}
		}
		return a
	}}
	o := uow.LogObserver{Logger: slog.New(slog.NewTextHandler(&log, plain)), Slow: time.Second}
	for want, r := range map[string]uow.UnitReport{
		"level=DEBUG msg=\"uow: unit ended\" name=pay outcome=committed attempts=2 calls=3 updated=1 messages=2": {
			UnitStart: uow.UnitStart{Name: "pay"}, Attempts: 2, Duration: time.Second,
			Last: uow.Attempt{Outcome: uow.Committed, Calls: 3, Changes: uow.Changes{Updated: 1, Messages: 2}},
		},
		"level=DEBUG msg=\"uow: unit ended\" outcome=rolled_back attempts=1 calls=0 error=boom":   {Attempts: 1, Last: uow.Attempt{Outcome: uow.RolledBack, Err: errBoom}},
		"level=WARN msg=\"uow: unit was slow\" outcome=committed attempts=1 calls=0":              {Attempts: 1, Duration: time.Minute, Last: uow.Attempt{Outcome: uow.Committed}},
		"level=WARN msg=\"uow: unit conflicted\" outcome=conflict attempts=3 calls=0":             {Attempts: 3, Last: uow.Attempt{Outcome: uow.Conflicted}},
		"level=WARN msg=\"uow: unit in doubt\" outcome=in_doubt attempts=1 calls=0 doubts=9":      {Attempts: 1, Last: uow.Attempt{Outcome: uow.Doubtful, Doubts: 9}},
		"level=WARN msg=\"uow: unit was in doubt\" outcome=committed attempts=1 calls=0 doubts=1": {Attempts: 1, Last: uow.Attempt{Outcome: uow.Committed, Doubts: 1}},
	} {
		log.Reset()
		o.UnitEnded(t.Context(), r)
		if got := strings.TrimSpace(log.String()); got != want {
			t.Errorf("logged\n%s\nwant\n%s", got, want)
		}
	}
	d, _ := observed(t, uow.Config{Observers: []uow.Observer{o}})
	log.Reset()
	d.do(func(context.Context, *uow.Unit, *uow.Repository[note]) error { return nil })
	if got := strings.Count(log.String(), "\n"); got != 1 {
		t.Errorf("a unit logged %d lines:\n%s", got, log.String())
	}
}

package uowtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay" // the kit has a type of that name
)

// Run is one run of an operation that is explored, as its functions see it.
type Run struct {
	// DB is the database. That of Setup and Operation has a store whose calls are
	// steps; the others see the database as it is. What is made of it in Setup, such
	// as a service, can be kept for the Operation.
	DB *uow.DB
	// Outcome is how the operation ended, for Snapshot and Invariant.
	Outcome Outcome

	process *process
	done    *ledger
}

// Step runs fn, as a step of the operation that can fail like those of the store:
// a call of another service, a file, a message to a broker. Did counts those that
// went well. Outside of the Operation it runs fn and counts.
func (x *Run) Step(name string, fn func() error) error {
	do := func() error {
		if err := fn(); err != nil {
			return err
		}
		x.done.add(name)
		return nil
	}
	if x.process == nil {
		return do()
	}
	return x.process.step(context.Background(), x, Step{Name: name, About: name, own: true}, do)
}

// Did returns how often a step with the name went well in this run.
func (x *Run) Did(name string) int { return x.done.count(name) }

// Published returns the messages that were published by publishers of this run
// (see Publisher), in order, those that were published again included.
func (x *Run) Published() []outbox.Message { return x.done.all() }

// Publisher makes each Publish of a publisher a step. A nil publisher stores
// everything.
func (x *Run) Publisher(p relays.Publisher) relays.Publisher { return publisherOf(x, p) }

// ledger counts what lasts in the world outside of the database, whatever becomes
// of the process.
type ledger struct {
	mu        sync.Mutex
	steps     map[string]int
	published []outbox.Message
}

func (l *ledger) add(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steps[name]++
}

func (l *ledger) count(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.steps[name]
}

func (l *ledger) publish(m outbox.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published = append(l.published, m)
}

func (l *ledger) all() []outbox.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]outbox.Message(nil), l.published...)
}

// Outcome is how an operation ended.
type Outcome struct {
	// Err is what it returned.
	Err error
	// Panic is what it panicked with.
	Panic any
	// Goexit says that it ended its goroutine.
	Goexit bool
	// Crashed says that its process ended in the midst of it.
	Crashed bool
	// Left is what it may have left.
	Left Left
}

// Left is what an operation may leave, after its outcome.
type Left uint8

// What an operation may leave.
const (
	// Everything: it returned nil.
	Everything Left = iota + 1
	// Nothing: it returned an error, which may be that of a commit in doubt that did
	// not happen.
	Nothing
	// EverythingOrNothing: it returned nothing, since it panicked, ended its goroutine,
	// or its process ended; or the error of a commit in doubt that happened.
	EverythingOrNothing
)

// String says it in a word or two.
func (l Left) String() string {
	switch l {
	case Everything:
		return "everything"
	case Nothing:
		return "nothing"
	case EverythingOrNothing:
		return "everything or nothing"
	}
	return fmt.Sprintf("left(%d)", uint8(l))
}

// String describes the outcome.
func (o Outcome) String() string {
	switch {
	case o.Crashed:
		return "the process ended in the midst of the operation"
	case o.Panic != nil:
		return fmt.Sprintf("the operation panicked: %v", o.Panic)
	case o.Goexit:
		return "the operation ended its goroutine"
	case o.Err != nil:
		return fmt.Sprintf("the operation returned: %v", o.Err)
	}
	return "the operation returned nil"
}

// result is what a run showed.
type result struct {
	plan          []planned
	steps         []Step
	outcome       Outcome
	before, after any // the snapshots
	finding       *Finding
}

// run makes one run. It returns nil when something failed that is not the
// operation's fault, which fails t.
func (e *explorer) run(t testing.TB, plan []planned) (r *result) {
	t.Helper()
	e.runs++
	var finding *Finding
	failures := record(t, func(t testing.TB) {
		s := e.newScene(t, plan)
		r = s.play(t)
		finding = r.finding
	})
	for _, failure := range failures {
		t.Errorf("uowtest: %s: %s", planText(plan), failure)
	}
	if len(failures) > 0 {
		return nil
	}
	if r == nil {
		t.Skip("uowtest: Open, or another function of the Exploration, has skipped the test")
	}
	if finding != nil {
		e.findings++
		e.found(t, *finding)
	}
	return r
}

// scene is a database with what is around it, for one run.
type scene struct {
	*explorer
	plan    []planned
	cfg     uow.Config
	clean   *uow.DB // without faults
	process *process
	actor   *Run // what Setup and Operation get
	viewer  *Run // what the others get
	ctx     context.Context
}

func (e *explorer) newScene(t testing.TB, plan []planned) *scene {
	t.Helper()
	s := &scene{explorer: e, plan: plan, ctx: t.Context(), cfg: e.Config}
	if s.cfg.Logger == nil {
		s.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s.clean = e.Open(t, s.cfg)
	cfg := s.cfg
	cfg.Retry.MinBackoff, cfg.Retry.MaxBackoff = time.Nanosecond, time.Nanosecond
	for _, p := range plan {
		if p.fault == FailInDoubt || p.fault == FailInDoubtLost {
			cfg.ResolveTimeout = time.Millisecond // it would only be waited for
		}
	}
	s.process = newProcess(s, plan)
	s.process.store = newFaultyStore(s.clean.Store(), Faults{Around: s.process.around, Doubt: e.standsIn})
	s.process.store.borrowed = true
	db, err := uow.Open(s.ctx, s.process.store.able(), cfg)
	if err != nil {
		t.Fatalf("opening the database once more: %v", err)
	}
	done := &ledger{steps: map[string]int{}}
	s.actor = &Run{DB: db, process: s.process, done: done}
	s.viewer = &Run{DB: s.clean, done: done}
	return s
}

// play runs the operation and looks at what it left.
func (s *scene) play(t testing.TB) *result {
	t.Helper()
	if err := s.Setup(s.ctx, s.actor); err != nil {
		t.Fatalf("Setup: %v", err)
	}
	r := &result{plan: s.plan}
	r.before = s.snapshot(t)
	var leaks []string
	r.outcome, leaks = s.process.operate(t, s.actor)
	defer func() { s.process.release(t, r.outcome.Crashed) }()
	r.steps = s.process.taken()
	s.sameSteps(t, r)
	if r.outcome.Crashed {
		s.reopen(t)
	}
	s.judge(t, &r.outcome)
	s.viewer.Outcome = r.outcome
	r.after = s.snapshot(t)
	if s.process.meanwhileErr != nil {
		t.Fatalf("Meanwhile: %v", s.process.meanwhileErr)
	}
	s.check(r, leaks)
	return r
}

// sameSteps demands that the steps up to each that was to fail were those of the
// run before.
func (s *scene) sameSteps(t testing.TB, r *result) {
	t.Helper()
	for _, p := range s.plan {
		if p.step > len(r.steps) || r.steps[p.step-1].Name != p.name {
			t.Fatalf("the operation is not the same in each run: step %d was %s, and now the steps are\n%s", p.step, p.name, listSteps(r.steps))
		}
	}
}

// reopen is what happens after a crash.
func (s *scene) reopen(t testing.TB) {
	t.Helper()
	s.process.abandon()
	if s.Reopen != nil {
		if err := s.clean.Close(); err != nil {
			t.Fatalf("closing the database after the crash: %v", err)
		}
		s.viewer.DB = s.Reopen(t, s.cfg)
	}
	if err := s.Restart(s.ctx, s.viewer); err != nil {
		t.Fatalf("Restart: %v", err)
	}
}

// judge finds out what the operation may have left.
func (s *scene) judge(t testing.TB, o *Outcome) {
	t.Helper()
	doubt, inDoubt := errors.AsType[*uow.InDoubtError](o.Err)
	switch {
	case o.Crashed, o.Goexit, o.Panic != nil:
		o.Left = EverythingOrNothing
	case o.Err == nil:
		o.Left = Everything
	case inDoubt:
		o.Left = Nothing
		committed, err := s.actor.DB.Resolve(s.ctx, doubt.Unit)
		if err != nil {
			t.Fatalf("Resolve: %v", err)
		}
		if committed { // that unit, which may have been the first of several
			o.Left = EverythingOrNothing
		}
	default:
		o.Left = Nothing
	}
}

func (s *scene) snapshot(t testing.TB) any {
	t.Helper()
	if s.Snapshot == nil {
		return nil
	}
	value, err := s.Snapshot(s.ctx, s.viewer)
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	return value
}

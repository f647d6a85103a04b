package uowtest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
)

// Exploration is an operation, and what must hold whatever fails in it.
//
// Its functions are called anew in each run, one run after the other, each with a
// database of its own. What the operation uses beside the database must be fresh
// in each run too: Setup is the place to make it. The operation must take the same
// steps in each run up to the one that fails, which asks for one goroutine at a
// time.
type Exploration struct {
	// Open returns a fresh, empty database and sees to it, by t.Cleanup, that it is
	// closed. Default: a database in memory that stands in for a server: its commits
	// can be in doubt.
	Open func(t testing.TB, cfg uow.Config) *uow.DB
	// Reopen returns the database that Open returned last, which has been closed
	// meanwhile, after a crash. Default: the database stays open, and what the
	// operation has not committed is rolled back.
	Reopen func(t testing.TB, cfg uow.Config) *uow.DB
	// Config is what databases are opened with. The pauses of Retry are left out, and
	// a Logger that is not set keeps quiet.
	Config uow.Config

	// Setup prepares the database, and what else the operation uses. Default:
	// nothing.
	Setup func(ctx context.Context, x *Run) error
	// Operation is what is explored. It must use Run.DB, and ctx. Required.
	Operation func(ctx context.Context, x *Run) error
	// Restart is what the program does when it is started again after a crash,
	// before anything is checked. Default: nothing.
	Restart func(ctx context.Context, x *Run) error
	// Meanwhile is what others do to the same data. It runs, once, before each step
	// at which the operation holds no locks. Default: conflicts are simulated only.
	Meanwhile func(ctx context.Context, x *Run) error

	// Snapshot returns what must be all or nothing: a value that reflect.DeepEqual
	// can compare, of rows, and of effects that Run.Did counts. It must equal what it
	// was before the operation when that returned an error, and what it is after a run
	// without a failure when it returned nil; after a panic or a crash it must be one of
	// the two, and after a commit in doubt what Resolve tells (see Left). Random ids
	// and times must be left out. Default: not compared.
	Snapshot func(ctx context.Context, x *Run) (any, error)
	// Invariant returns what is wrong after the operation, whose outcome is
	// Run.Outcome. Snapshot or Invariant is required.
	Invariant func(ctx context.Context, x *Run) error

	// InUse counts the connections that are in use in the database that Open
	// returned last. Default: only units that were left open are found.
	InUse func() int

	// Without lists faults that are left out.
	Without []Fault
	// Failures is how many failures one run may have: 2 explores what happens when
	// the recovery from the first one fails. Default: 2.
	Failures int
	// MaxRuns is how many runs are made at most; it is logged when that leaves
	// something out. Default: 5000.
	MaxRuns int
	// Timeout is how long one run may take. Default: 30s.
	Timeout time.Duration
}

// Explore runs an operation once to count its steps, and then again and again with
// a failure at every step. A step is a call of the store (Begin, Get, Find, Flush,
// Commit, Rollback, nested units, native SQL), a step that the operation declares
// by Run.Step, and a message that Run.Publisher publishes. Each run is a subtest,
// named after the step and the fault, so that it can be run alone:
//
//	go test -run 'TestTransfer/step_07_commit/after'
//
// A run fails when the snapshot or the invariant says so, when the operation
// panics by itself, does not end, or leaves a unit, a connection or a goroutine
// behind. Its report lists the steps with the lines that took them, and names the
// one that broke the rule.
func Explore(t *testing.T, e Exploration) {
	t.Helper()
	x := newExplorer(e)
	x.sub = func(t testing.TB, name string, fn func(t testing.TB)) {
		t.(*testing.T).Run(name, func(t *testing.T) { fn(t) })
	}
	x.found = func(t testing.TB, f Finding) {
		t.Helper()
		t.Error(f.Report + alone(t.Name()))
	}
	x.explore(t)
}

// Findings explores as Explore does, but returns what it found and does not fail
// t. It is for tests that show that a mistake would be found.
func (e Exploration) Findings(t testing.TB) []Finding {
	t.Helper()
	var all []Finding
	x := newExplorer(e)
	x.sub = func(t testing.TB, _ string, fn func(t testing.TB)) { fn(t) }
	x.found = func(_ testing.TB, f Finding) { all = append(all, f) }
	x.explore(t)
	return all
}

// explorer makes the runs of an Exploration.
type explorer struct {
	Exploration
	sub   func(t testing.TB, name string, fn func(t testing.TB))
	found func(t testing.TB, f Finding)

	// standsIn says that the store stands in for a server, whose commits can be in
	// doubt.
	standsIn                bool
	runs, findings, skipped int
	leaked                  int // runs that were waited for in vain
	base                    *result
	// meanwhile is what the snapshot must be after runs with a Meanwhile.
	meanwhile *expected
}

func newExplorer(e Exploration) *explorer {
	standsIn := e.Open == nil
	if standsIn {
		e.Open = openMemory
	}
	if e.Setup == nil {
		e.Setup = nothing
	}
	if e.Restart == nil {
		e.Restart = nothing
	}
	if e.Failures <= 0 {
		e.Failures = 2
	}
	if e.MaxRuns <= 0 {
		e.MaxRuns = 5000
	}
	if e.Timeout <= 0 {
		e.Timeout = 30 * time.Second
	}
	return &explorer{Exploration: e, standsIn: standsIn}
}

func openMemory(t testing.TB, cfg uow.Config) *uow.DB {
	db, err := memory.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func nothing(context.Context, *Run) error { return nil }

// planned is a fault that is to happen at a step.
type planned struct {
	step  int
	name  string // the step's, to notice when it is another one
	fault Fault
}

// explore makes all runs.
func (e *explorer) explore(t testing.TB) {
	t.Helper()
	if e.Operation == nil || e.Snapshot == nil && e.Invariant == nil {
		t.Fatal("uowtest: an Exploration needs an Operation, and a Snapshot or an Invariant")
	}
	e.references(t)
	if t.Failed() || e.base == nil || e.findings > 0 {
		return
	}
	e.from(t, nil, 0, e.base.steps)
	t.Logf("uowtest: %d steps, %d runs, %d findings", len(e.base.steps), e.runs, e.findings)
	if e.skipped > 0 {
		t.Logf("uowtest: MaxRuns is reached: at least %d more runs were not made", e.skipped)
	}
}

// from lets each step after a number of them fail in each way.
func (e *explorer) from(t testing.TB, plan []planned, after int, steps []Step) {
	t.Helper()
	for _, s := range steps[min(after, len(steps)):] {
		faults := e.faults(s, len(plan) > 0)
		if len(faults) == 0 {
			continue
		}
		e.sub(t, s.slug(), func(t testing.TB) {
			t.Helper()
			for _, fault := range faults {
				e.sub(t, string(fault), func(t testing.TB) {
					t.Helper()
					e.with(t, append(slices.Clone(plan), planned{s.N, s.Name, fault}))
				})
			}
		})
	}
}

// with makes the run with the plan, and those in which what follows fails too.
func (e *explorer) with(t testing.TB, plan []planned) {
	t.Helper()
	if e.runs >= e.MaxRuns {
		e.skipped++
		return
	}
	r := e.run(t, plan)
	if r == nil || r.finding != nil || len(plan) >= e.Failures || r.outcome.Crashed {
		return
	}
	e.from(t, plan, plan[len(plan)-1].step, r.steps)
}

// faults returns those that a step can have, as a first failure or a further one.
func (e *explorer) faults(s Step, further bool) (faults []Fault) {
	for _, f := range s.faults() {
		switch {
		case slices.Contains(e.Without, f), f == FailMeanwhile && e.Meanwhile == nil:
		case further && !f.further():
		default:
			faults = append(faults, f)
		}
	}
	return faults
}

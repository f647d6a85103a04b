package uowtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// errGone is what a process that has crashed gets from everything that it still
// tries.
var errGone = errors.New("uowtest: the process that this belonged to has ended; after a crash use the DB of the Run that is given")

// process is where the operation runs: what it does are steps, and it may end in
// the midst of it.
type process struct {
	scene *scene
	store *faultyStore
	plan  []planned

	crashed  chan struct{} // closed by the crash
	ended    chan Outcome  // has room for the one that is sent
	released chan struct{} // closed when what stands still may go on, to its end
	cancel   context.CancelFunc

	mu           sync.Mutex
	operating    bool
	gone         bool
	mainID       string // the goroutine of the operation
	mayEnd       bool   // by a panic or Goexit
	ghosts       int    // what was tried after the crash
	met          bool   // Meanwhile has happened
	meanwhileErr error
	steps        []Step
}

func newProcess(s *scene, plan []planned) *process {
	return &process{
		scene: s, plan: plan,
		crashed: make(chan struct{}), ended: make(chan Outcome, 1), released: make(chan struct{}),
	}
}

// maxSteps ends operations that repeat something for ever.
const maxSteps = 1000

// around makes calls of the store, the log and publishers steps.
func (p *process) around(ctx context.Context, c Call, do func() error) error {
	if looksOnly(c) {
		return p.unlessGone(do)
	}
	s := Step{Name: c.Method, About: c.String(), method: c.Method}
	if c.Method == "Commit" || c.Method == "Flush" {
		s.conflict = firstConflict(c.Changes)
		s.resolves = p.store.resolves() && (!c.Changes.Empty() || p.locked())
	}
	return p.step(ctx, p.scene.actor, s, do)
}

// looksOnly reports whether a relay does something only to see whether there is
// something to do, or whether its lease stands: how often is a matter of time, so
// that it can't be a step.
func looksOnly(c Call) bool {
	if c.Method == "Settle" {
		return c.Settlement.Position == 0 && len(c.Settlement.Hold) == 0 && len(c.Settlement.Release) == 0
	}
	return slices.Contains([]string{"Scan", "Held", "Stats", "Trim"}, c.Method)
}

func (p *process) unlessGone(do func() error) error {
	if p.isGone() {
		return p.haunt()
	}
	return do()
}

func (p *process) isGone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// haunt answers what is tried after the crash, and ends the goroutine when that
// does not let it go.
func (p *process) haunt() error {
	p.mu.Lock()
	p.ghosts++
	ends := p.ghosts > maxSteps
	p.mu.Unlock()
	if ends {
		runtime.Goexit()
	}
	return errGone
}

// step takes a step, with the fault that is planned for it.
func (p *process) step(ctx context.Context, x *Run, s Step, do func() error) error {
	if p.isGone() {
		if slices.Contains([]string{"Resolve", "Acquire", "Settle"}, s.method) {
			return nil // without an answer they would be tried again and again
		}
		return p.haunt()
	}
	from := caller()
	p.mu.Lock()
	switch {
	case !p.operating:
		p.mu.Unlock()
		return do()
	case s.method == "Resolve" && from.settling && p.unreachable():
		p.mu.Unlock()
		return ErrInjected
	}
	s.N = len(p.steps) + 1
	if len(from.lines) > 0 {
		s.At, s.From = from.lines[0], from.lines[1:]
	}
	s.locked = p.locked()
	s.mayPanic = from.goroutine == p.mainID && s.method != "Rollback" // whose panics are errors
	for _, planned := range p.plan {
		if planned.step == s.N && planned.name == s.Name {
			s.Fault = planned.fault
		}
	}
	p.steps = append(p.steps, s)
	p.mu.Unlock()
	if s.N > maxSteps {
		p.exits()
		runtime.Goexit()
	}
	err := x.inject(ctx, s, s.Fault, func() error {
		err := do()
		if err == nil {
			p.lasts(s)
		}
		return err
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps[s.N-1].Err = err
	return err
}

// lasts notes that a step went well, and whether that can't be taken back.
func (p *process) lasts(s Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps[s.N-1].Lasting = s.own || s.method == "Commit" || s.method == "Publish"
}

// unreachable reports whether a commit that is in doubt can't ask.
func (p *process) unreachable() bool {
	return slices.ContainsFunc(p.steps, func(s Step) bool { return s.Fault == FailInDoubt || s.Fault == FailInDoubtLost })
}

// locked reports whether others may have to wait for the operation.
func (p *process) locked() bool {
	return slices.ContainsFunc(p.store.transactions(), func(t *faultyTx) bool { return t.wrote.Load() })
}

// exits notes that the operation may end without returning.
func (p *process) exits() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mayEnd = true
}

// meanwhile lets others change the data.
func (p *process) meanwhile(ctx context.Context) {
	p.met = true
	if err := p.scene.Meanwhile(context.WithoutCancel(ctx), p.scene.viewer); err != nil {
		p.meanwhileErr = err
	}
}

// crash lets the goroutine stand still until nothing is looked at any more.
func (p *process) crash() error {
	p.mu.Lock()
	if !p.gone {
		p.gone = true
		close(p.crashed)
	}
	p.mu.Unlock()
	<-p.released
	return errGone
}

// operate runs the operation to its end, or to its crash, and returns what it left
// behind that it should not have.
func (p *process) operate(t testing.TB, x *Run) (o Outcome, leaks []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(p.scene.ctx)
	p.cancel = cancel
	label := strconv.Itoa(p.scene.runs)
	p.operating = true
	go func() {
		pprof.Do(ctx, pprof.Labels(goroutineLabel, label), func(ctx context.Context) { p.main(ctx, x) })
	}()
	timer := time.NewTimer(p.scene.Timeout)
	defer timer.Stop()
	select {
	case o = <-p.ended:
		cancel()
		leaks = p.leaks(label)
	case <-p.crashed:
		o.Crashed = true
	case <-timer.C:
		t.Fatalf("the operation did not end within %v:\n%s", p.scene.Timeout, listSteps(p.taken()))
	}
	p.mu.Lock()
	p.operating = false
	p.mu.Unlock()
	return o, leaks
}

// main is the goroutine of the operation.
func (p *process) main(ctx context.Context, x *Run) {
	var o Outcome
	returned := false
	defer func() {
		if !returned {
			o.Panic = recover()
			o.Goexit = o.Panic == nil
			if _, injected := o.Panic.(injectedPanic); o.Panic != nil && !injected {
				o.Panic = unexpected{o.Panic, debug.Stack()}
			}
		}
		p.ended <- o
	}()
	p.mu.Lock()
	p.mainID = goroutine()
	p.mu.Unlock()
	o.Err = p.scene.Operation(ctx, x)
	returned = true
}

// unexpected is a panic that was not injected.
type unexpected struct {
	value any
	stack []byte
}

func (u unexpected) String() string { return fmt.Sprint(u.value) }

// taken returns the steps.
func (p *process) taken() []Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.steps)
}

// abandon is what the database does when the connections of a process end.
func (p *process) abandon() {
	for _, t := range p.store.transactions() {
		_ = t.tx.Rollback()
	}
}

// release lets the rest of a process that has crashed run to its end, in which
// nothing that it tries has an effect, so that nothing of it is left for the next
// run.
func (p *process) release(t testing.TB, crashed bool) {
	t.Helper()
	p.cancel()
	close(p.released)
	if !crashed {
		return
	}
	timer := time.NewTimer(p.scene.Timeout)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		t.Errorf("after a crash, the goroutine of the operation did not end within %v, although its context has ended and everything fails", p.scene.Timeout)
	}
}

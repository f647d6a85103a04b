package uowtest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// expected is what a snapshot may be.
type expected struct {
	nothing    any
	everything []any
}

// references makes the runs without a failure that the others are compared with.
func (e *explorer) references(t testing.TB) {
	t.Helper()
	e.base = e.run(t, nil)
	if e.base == nil || e.findings > 0 {
		return
	}
	if len(e.base.steps) == 0 {
		t.Fatal("uowtest: the operation has taken no step: it must use the DB of its Run")
	}
	changes := func(s Step) bool { return s.own || s.conflict != nil }
	if e.Snapshot != nil && e.base.outcome.Err == nil && reflect.DeepEqual(e.base.before, e.base.after) {
		for _, s := range e.base.steps {
			if s.Lasting && changes(s) {
				t.Fatalf("uowtest: Snapshot shows nothing of what the operation does in %s", s)
			}
		}
	}
	if e.Meanwhile == nil || e.Snapshot == nil {
		return
	}
	e.meanwhile = &expected{}
	e.meanwhile.nothing, _ = e.reference(t, (*scene).others)
	for _, order := range [][]func(*scene) error{
		{(*scene).others, (*scene).alone},
		{(*scene).alone, (*scene).others},
	} {
		if value, err := e.reference(t, order...); err == nil {
			e.meanwhile.everything = append(e.meanwhile.everything, value)
		}
	}
}

func (s *scene) others() error { return s.Meanwhile(s.ctx, s.viewer) }
func (s *scene) alone() error  { return s.Operation(s.ctx, s.actor) }

// reference returns the snapshot after what is done one after the other.
func (e *explorer) reference(t testing.TB, acts ...func(*scene) error) (value any, err error) {
	t.Helper()
	failures := record(t, func(t testing.TB) {
		s := e.newScene(t, nil)
		if err := s.Setup(s.ctx, s.actor); err != nil {
			t.Fatalf("Setup: %v", err)
		}
		for _, act := range acts {
			if err = act(s); err != nil {
				return
			}
		}
		value = s.snapshot(t)
	})
	for _, failure := range failures {
		t.Fatalf("uowtest: without a failure: %s", failure)
	}
	return value, err
}

// allowed is what the snapshot of a run may be.
func (s *scene) allowed(r *result) expected {
	switch {
	case s.process.met && s.explorer.meanwhile != nil:
		return *s.explorer.meanwhile
	case s.base == nil: // this is it
		return expected{nothing: r.before, everything: []any{r.after}}
	case s.base.outcome.Err != nil:
		return expected{nothing: r.before, everything: []any{r.before}}
	}
	return expected{nothing: r.before, everything: []any{s.base.after}}
}

// check looks for what is wrong in a run.
func (s *scene) check(r *result, leaks []string) {
	var problems []string
	if u, ok := r.outcome.Panic.(unexpected); ok {
		problems = append(problems, fmt.Sprintf("the operation panicked by itself: %v\n%s", u.value, indent(string(u.stack), "    ")))
	}
	if r.outcome.Goexit && !s.process.mayEnd {
		problems = append(problems, "the operation ended its goroutine by itself")
	}
	if len(r.steps) > maxSteps {
		problems = append(problems, fmt.Sprintf("the operation takes more than %d steps", maxSteps))
	}
	problems = append(problems, leaks...)
	allowed := s.allowed(r)
	broken := s.Snapshot != nil && !allowed.has(r.outcome.Left, r.after)
	if broken {
		problems = append(problems, fmt.Sprintf("it should leave %s, and does not", r.outcome.Left))
	}
	if s.Invariant != nil {
		if err := s.Invariant(s.ctx, s.viewer); err != nil {
			problems = append(problems, "the invariant does not hold: "+err.Error())
		}
	}
	if len(problems) == 0 {
		return
	}
	f := &Finding{Run: planText(r.plan), Problem: strings.Join(problems, "; ")}
	f.Culprit, f.why = s.culprit(r)
	f.Report = report(f, r, broken, allowed)
	r.finding = f
}

// has reports whether a snapshot is what may be left.
func (x expected) has(left Left, value any) bool {
	if left != Everything && reflect.DeepEqual(value, x.nothing) {
		return true
	}
	if left == Nothing {
		return false
	}
	for _, everything := range x.everything {
		if reflect.DeepEqual(value, everything) {
			return true
		}
	}
	return false
}

// culprit names the step to look at first: one that took effect although the
// operation failed, or more often than it should, or whose failure was passed over.
func (s *scene) culprit(r *result) (step Step, why string) {
	count := map[string]int{}
	if s.base != nil && r.outcome.Left == Everything {
		for _, step := range s.base.steps {
			if step.Lasting {
				count[step.Name]++
			}
		}
	}
	for _, step := range r.steps {
		if !step.Lasting {
			continue
		}
		if count[step.Name]--; count[step.Name] < 0 && r.outcome.Left == Everything && s.base != nil {
			return step, "was done once more than without a failure"
		}
		if r.outcome.Left != Everything {
			return step, "took effect by itself, and stayed"
		}
	}
	for _, step := range r.steps {
		if step.Fault != "" && step.Err != nil {
			return step, "failed, and the operation went on as if it had not"
		}
	}
	for _, step := range r.steps {
		if step.Fault != "" {
			return step, step.Fault.String()
		}
	}
	return Step{}, ""
}

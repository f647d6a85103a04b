package uowtest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// recorder is a testing.TB that writes failures down instead of failing the test
// it belongs to.
type recorder struct {
	testing.TB
	ctx context.Context

	mu       sync.Mutex
	failures []string
	cleanups []func()
}

// record runs fn in a goroutine of its own, which Fatal ends, and returns the
// failures.
func record(t testing.TB, fn func(t testing.TB)) []string {
	ctx, cancel := context.WithCancel(t.Context())
	r := &recorder{TB: t, ctx: ctx}
	r.apart(func() { fn(r) })
	cancel()
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		cleanup := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		r.apart(cleanup)
	}
	return r.failures
}

func (r *recorder) apart(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				r.Errorf("panic: %v", v)
			}
		}()
		fn()
	}()
	<-done
}

// Errorf implements testing.TB.
func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// Error implements testing.TB.
func (r *recorder) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }

// Fail implements testing.TB.
func (r *recorder) Fail() { r.Errorf("failed") }

// FailNow implements testing.TB.
func (r *recorder) FailNow() {
	r.Fail()
	runtime.Goexit()
}

// Fatalf implements testing.TB.
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// Fatal implements testing.TB.
func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

// SkipNow implements testing.TB. A check that does not apply finds nothing.
func (r *recorder) SkipNow() { runtime.Goexit() }

// Skip implements testing.TB.
func (r *recorder) Skip(...any) { r.SkipNow() }

// Skipf implements testing.TB.
func (r *recorder) Skipf(string, ...any) { r.SkipNow() }

// Failed implements testing.TB.
func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

// Cleanup implements testing.TB.
func (r *recorder) Cleanup(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, fn)
}

// Context implements testing.TB.
func (r *recorder) Context() context.Context { return r.ctx }

// Log and Logf keep quiet: a check that is expected to fail has nothing to say.
func (r *recorder) Log(...any)          {}
func (r *recorder) Logf(string, ...any) {}

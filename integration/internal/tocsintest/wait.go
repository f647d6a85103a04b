package tocsintest

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// Wait is how long a test waits for something that should happen soon. It is
// generous: the tests share the processors with others.
const Wait = 45 * time.Second

// Eventually asks again and again until ask returns no error, and fails the test
// with the last error when that takes longer than Wait.
func Eventually(t testing.TB, what string, ask func() error) {
	t.Helper()
	EventuallyWithin(t, Wait, what, ask)
}

// EventuallyWithin is Eventually with a limit of its own.
func EventuallyWithin(t testing.TB, limit time.Duration, what string, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := poll(ctx, ask); err != nil {
		t.Fatalf("%s: not within %v: %v", what, limit, err)
	}
}

// poll asks until the answer is nil or ctx ends, and returns the last answer.
func poll(ctx context.Context, ask func() error) error {
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-ticker.C:
		}
	}
}

// Pass waits for the time to go by, or for the end of the test: what a test does
// that wants something to happen at an arbitrary moment.
func Pass(t testing.TB, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

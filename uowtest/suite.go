package uowtest

import (
	"fmt"
	"testing"
)

// suited is a check, of what a harness H reaches.
type suited[H any] interface {
	// Run runs it.
	Run(t testing.TB, h H)
	// Failures runs it and returns what it found.
	Failures(t testing.TB, h H) []string

	words(t testing.TB) words
	// skip returns why it does not apply; empty when it does.
	skip(h H) string
}

// runAll runs the checks that apply, and logs the names of the others.
func runAll[H any, C suited[H]](t *testing.T, h H, checks []C) {
	for _, c := range checks {
		name := c.words(t).check
		if reason := c.skip(h); reason != "" {
			t.Logf("%s is not checked: %s", name, reason)
			continue
		}
		t.Run(name, func(t *testing.T) { c.Run(t, h) })
	}
}

// lack is something that checks may need, which is one bit of N, and a harness may not
// have.
type lack[N ~uint8 | ~uint16] struct {
	need   N
	lacks  bool
	reason string
}

// skipped returns the reason why a check does not apply; empty when all is there.
func skipped[N ~uint8 | ~uint16](needs N, rule string, all []lack[N]) string {
	for _, l := range all {
		if needs&l.need != 0 && l.lacks {
			return fmt.Sprintf("%s (%s)", l.reason, rule)
		}
	}
	return ""
}

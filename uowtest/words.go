package uowtest

import "testing"

// words is how a check says what it has found.
type words struct {
	testing.TB
	check, rule string
}

// broken reports that the check's rule was broken, and how.
func (w *words) broken(format string, args ...any) {
	w.Helper()
	w.Errorf("%s: %s; "+format, append([]any{w.check, w.rule}, args...)...)
}

// must ends the check on an error that has nothing to do with its rule.
func (w *words) must(doing string, err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("%s: the check could not go on: %s: %v", w.check, doing, err)
	}
}

package inbox

import "testing"

// FuzzKey demands that keys are short, are of plain characters, and tell messages apart.
func FuzzKey(f *testing.F) {
	f.Add("", "b/c", "b", "c")
	f.Add("a%2F", "b", "a/", "b")
	f.Add("\x00", "\xff", "", "\ufffd")
	f.Fuzz(func(t *testing.T, source, id, otherSource, otherID string) {
		k, other := key("c", markKind, source, id), key("c", markKind, otherSource, otherID)
		if (k == other) != (source == otherSource && id == otherID) {
			t.Errorf("%q of %q has the key %q, and %q of %q %q", id, source, k, otherID, otherSource, other)
		}
		if stream := key("c", streamKind, source, id); stream == k || stream == other {
			t.Errorf("stream and message have the key %q", stream)
		}
		if len(k) > maxKey {
			t.Errorf("the key has %d characters", len(k))
		}
		for _, c := range k {
			if c <= ' ' || c > '~' {
				t.Errorf("the key %q has the character %q", k, c)
			}
		}
	})
}

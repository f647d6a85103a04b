package nats

import "testing"

func TestSubjectsOfAStream(t *testing.T) {
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a", false}, {"a", "a.b", false}, {"a.b", "a.c", false},
		{"a.*", "a.b", true}, {"a.*", "a", false}, {"a.*", "a.b.c", false}, {"*.b", "a.b", true},
		{"a.>", "a.b", true}, {"a.>", "a.b.c", true}, {"a.>", "a", false}, {">", "a", true}, {"a.*.>", "a.b", false},
	} {
		if got := covered([]string{"other", c.pattern}, c.subject); got != c.want {
			t.Errorf("%s covers %s: %v", c.pattern, c.subject, got)
		}
	}
}

func TestSubjectsThatCanNotBePublishedTo(t *testing.T) {
	for subject, ok := range map[string]bool{
		"a": true, "a.b-c_d": true, "é": true, "": false, ".": false, "a..b": false, "a.": false, "a.*": false, ">": false,
		"a b": false, "a\r\nPUB x 0": false, "a\tb": false, "a\x00": false,
	} {
		if err := checkSubject(subject); ok != (err == nil) {
			t.Errorf("%q: %v", subject, err)
		}
	}
}

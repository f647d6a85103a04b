package uowtest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// breakage is a fault, in words too, and a check that must find it.
type breakage[F any] struct {
	check string
	fault string
	how   F
}

// testNames demands that each check has a name of its own of this form, which
// docs/PROMISES.md lists, and a rule.
func testNames[H any, C suited[H]](t *testing.T, checks []C, form string) {
	listed, err := os.ReadFile("../docs/PROMISES.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range checks {
		w := c.words(t)
		if !regexp.MustCompile(form).MatchString(w.check) || seen[w.check] {
			t.Errorf("the name %s is taken, or begins with no promise and nothing else that checks are about", w.check)
		}
		if w.rule == "" {
			t.Errorf("%s has no rule", w.check)
		}
		if !strings.Contains(string(listed), w.check) {
			t.Errorf("docs/PROMISES.md does not list %s", w.check)
		}
		seen[w.check] = true
	}
}

// testLacks demands that of a harness without anything all checks are skipped that need
// something, and of one that lacks nothing none is.
func testLacks[H any, C suited[H]](t *testing.T, checks []C, none, all H, needy func(c C) bool) {
	for _, c := range checks {
		if reason := c.skip(none); (reason != "") != needy(c) {
			t.Errorf("%s needs something: %v; skipped where all is lacking: %q", c.words(t).check, needy(c), reason)
		}
		if reason := c.skip(all); reason != "" {
			t.Errorf("%s is skipped where nothing is lacking: %s", c.words(t).check, reason)
		}
	}
}

// testEachCanFail breaks something in each way, and demands that the check which guards
// against it fails.
func testEachCanFail[F, H any, C suited[H]](t *testing.T, checks []C, breakages []breakage[F], harness func(t *testing.T, how F) H) {
	named := byName[H](t, checks)
	broken := map[string]bool{}
	for _, row := range breakages {
		broken[row.check] = true
		t.Run(row.check+"/"+row.fault, func(t *testing.T) {
			check, ok := named[row.check]
			if !ok {
				t.Fatalf("there is no check %s", row.check)
			}
			failures := check.Failures(t, harness(t, row.how))
			if len(failures) == 0 {
				t.Errorf("%s passes what %s", row.check, row.fault)
			}
			for _, f := range failures {
				t.Log(f)
			}
		})
	}
	for name := range named {
		if !broken[name] {
			t.Errorf("nothing shows that %s can fail", name)
		}
	}
}

func byName[H any, C suited[H]](t *testing.T, checks []C) map[string]C {
	named := map[string]C{}
	for _, c := range checks {
		named[c.words(t).check] = c
	}
	return named
}

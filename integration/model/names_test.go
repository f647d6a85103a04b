package model_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The names of the model are those of relay/doc.go, and the reverse.
func TestNamesAreThoseOfTheProtocol(t *testing.T) {
	doc, model := readFile(t, "../../relay/doc.go"), read(t, "relay.pml")
	section := between(t, doc, "# The states of a partition", "# Restored databases")
	states := names(between(t, section, "are those of the", "these are the transitions"), `(?m)^//\t([A-Z]\w+)  `)
	transitions := names(between(t, section, "these are the transitions", "Invariants, on which"), `(?m)^//\t([A-Z]\w+)  `)
	invariants := names(between(t, section, "Invariants, on which", "Safety rests"), `(?m)^//   - ([A-Z]\w+):`)
	if len(states) != 6 || len(transitions) != 8 || len(invariants) != 8 {
		t.Fatalf("relay/doc.go is read as %v, %v, %v", states, transitions, invariants)
	}
	if got := names(between(t, model, "mtype = {", "/* of the partition"), `(\w+)`); !slices.Equal(got, states) {
		t.Errorf("the states of the model are %v, those of relay/doc.go are %v", got, states)
	}
	tagged := tags(model)
	for _, name := range slices.Concat(transitions, invariants) {
		if !slices.Contains(tagged, name) {
			t.Errorf("the model has no %s", name)
		}
	}
	known := slices.Concat(states, transitions, invariants, names(doc, `\b(Redrive|Discard|Park|Replay|Publisher)\b`))
	for _, name := range slices.Concat(tagged, names(strings.Join(regexp.MustCompile(`printf\("[^"]*"`).FindAllString(model, -1), "\n"), `\b([A-Z]\w+)`)) {
		if !slices.Contains(known, name) {
			t.Errorf("relay/doc.go has no %s", name)
		}
	}
}

// The names of the model of a scan are those of internal/logscan.
func TestNamesAreThoseOfTheScan(t *testing.T) {
	code, model := readFile(t, "../../internal/logscan/logscan.go"), read(t, "scan.pml")
	for _, name := range tags(model) {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(code) {
			t.Errorf("internal/logscan has no %s", name)
		}
	}
	for _, name := range names(code, `\nfunc \(s \*Scanner\[C\]\) (Scan|Proven|Prefix|closeGap|ask)\(`) {
		if name != "Scan" && !slices.Contains(tags(model), name) {
			t.Errorf("the model has no %s", name)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// between returns what stands between two texts.
func between(t *testing.T, text, begin, end string) string {
	t.Helper()
	_, rest, begun := strings.Cut(text, begin)
	part, _, ended := strings.Cut(rest, end)
	if !begun || !ended {
		t.Fatalf("there is nothing from %q to %q", begin, end)
	}
	return part
}

// names returns what a pattern finds, sorted.
func names(text, pattern string) []string {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// tags returns the names in the comments of a model that name what is beside them.
func tags(model string) []string { return names(model, tag.String()) }

package uowtest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Finding is a run in which a rule was broken.
type Finding struct {
	// Run says what failed, as in "step_07_commit/after": the name of the subtest.
	Run string
	// Problem is what was wrong.
	Problem string
	// Culprit is the step to look at first: the one that took effect although the
	// operation failed, or whose failure was passed over. It is often not the one that
	// failed.
	Culprit Step
	// Report tells everything, for people.
	Report string

	why string
}

// String returns the report.
func (f Finding) String() string { return f.Report }

// planText names a run.
func planText(plan []planned) string {
	if len(plan) == 0 {
		return "without a failure"
	}
	var names []string
	for _, p := range plan {
		names = append(names, Step{N: p.step, Name: p.name}.slug(), string(p.fault))
	}
	return strings.Join(names, "/")
}

// report writes a finding down.
func report(f *Finding, r *result, broken bool, allowed expected) string {
	var b strings.Builder
	fmt.Fprintf(&b, "uowtest: %s: %s\n\n%s\n", f.Run, f.Problem, listSteps(r.steps))
	fmt.Fprintf(&b, "  %s\n", r.outcome)
	if broken {
		fmt.Fprintf(&b, "  it should leave:   %s\n", r.outcome.Left)
		fmt.Fprintf(&b, "  it left:           %s\n", show(r.after))
		fmt.Fprintf(&b, "  nothing is:        %s\n", show(allowed.nothing))
		for i, everything := range allowed.everything {
			if i == 0 || !reflect.DeepEqual(everything, allowed.everything[0]) {
				fmt.Fprintf(&b, "  everything is:     %s\n", show(everything))
			}
		}
	}
	if f.why != "" {
		fmt.Fprintf(&b, "  look at %s: it %s\n", f.Culprit, f.why)
	}
	return b.String()
}

// listSteps writes the steps one below the other: those that failed have a cross,
// those with an effect that lasts a star.
func listSteps(steps []Step) string {
	const most = 200
	width := 0
	for _, s := range steps {
		width = max(width, min(len(s.About), 80))
	}
	var b strings.Builder
	for i, s := range steps {
		if i == most {
			fmt.Fprintf(&b, "  … and %d more\n", len(steps)-most)
			break
		}
		mark := " "
		switch {
		case s.Fault != "":
			mark = "x"
		case s.Lasting:
			mark = "*"
		}
		line := fmt.Sprintf("  %s %2d  %-*s  %s", mark, s.N, width, s.About, s.At)
		switch {
		case s.Fault != "":
			line += "  <- " + s.Fault.String()
		case s.Err != nil:
			line += "  -> " + s.Err.Error()
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// show writes a snapshot in one line, where that can be done.
func show(value any) string {
	const most = 2000
	text := fmt.Sprintf("%+v", value)
	if encoded, err := json.Marshal(value); err == nil && string(encoded) != "{}" {
		text = string(encoded)
	}
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}

// alone says how a subtest is run by itself.
func alone(name string) string {
	return fmt.Sprintf("  again: go test -run '%s$'\n", name)
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+by)
}

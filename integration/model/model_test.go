package model_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/uow-go/uow/integration/internal/servers"
)

var long = flag.Bool("long", false, "check the models with bounds that take ten minutes and several GB, too")

// models is where they are.
const models = "../../relay/model"

// bounds are what of a model's bounds is defined.
type bounds []string

// The bounds of checks: what each is about has enough room, and the rest little, so that
// spin can visit every state.
var (
	lost     = bounds{"TROUBLES=1", "FAILURES=1"}
	twice    = bounds{"TROUBLES=2", "FAILURES=1"}
	late     = bounds{"TROUBLES=2", "FAILURES=1", "LATE=1"}
	operated = bounds{"TROUBLES=0", "FAILURES=2", "OPERATIONS=1"}
	again    = bounds{"TROUBLES=0", "FAILURES=1", "OPERATIONS=2"}
	alive    = bounds{"TROUBLES=1", "FAILURES=1", "LIVENESS"}
	writers  = bounds{"WRITERS=3", "POSITIONS=4"}
)

func TestModelsHold(t *testing.T) {
	checks := []struct {
		name, model string
		bounds      bounds
		long        bool
	}{
		{"held keys", "relay.pml", bounds{"TROUBLES=1", "FAILURES=2"}, false},
		{"more messages", "relay.pml", bounds{"TROUBLES=1", "FAILURES=1", "MESSAGES=4"}, false},
		{"failures", "relay.pml", bounds{"TROUBLES=0", "FAILURES=4", "MESSAGES=4"}, false},
		{"leases, and settlements that come late", "relay.pml", late, false},
		{"operators", "relay.pml", bounds{"TROUBLES=0", "FAILURES=2", "OPERATIONS=3"}, false},
		{"operators while relays die", "relay.pml", bounds{"TROUBLES=1", "FAILURES=1", "OPERATIONS=1", "MESSAGES=2"}, false},
		{"everything comes", "relay.pml", alive, false},
		{"scans", "scan.pml", writers, false},
		{"scans go on", "scan.pml", bounds{"WRITERS=2", "POSITIONS=4", "LIVENESS"}, false},
		{"all at once", "relay.pml", bounds{"TROUBLES=2", "FAILURES=2", "LATE=1"}, true},
		{"more messages, all at once", "relay.pml", bounds{"TROUBLES=2", "FAILURES=1", "MESSAGES=4", "LATE=1"}, true},
		{"more operators while relays die", "relay.pml", bounds{"TROUBLES=1", "FAILURES=1", "OPERATIONS=1"}, true},
		{"more writers", "scan.pml", bounds{"WRITERS=3", "POSITIONS=5"}, true},
	}
	requireSpin(t)
	for _, c := range checks {
		if c.long && !*long {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := check(t, c.model, "-O1", c.bounds)
			if r.broken != "" {
				t.Errorf("%s is broken:\n%s", r.broken, r.trail)
			}
			t.Log(r.states)
		})
	}
}

// A mutation is the model with a mistake, which must break something: else the model
// would not notice the mistake in the protocol.
func TestMutationsFail(t *testing.T) {
	mutations := []struct {
		mistake, model string
		bounds         bounds
		breaks         string
	}{
		{"SETTLE_WITHOUT_EPOCH", "relay.pml", lost, "Settle"},
		{"ACQUIRE_KEEPS_EPOCH", "relay.pml", lost, "Settle"},
		{"SETTLE_WITHOUT_FROM", "relay.pml", late, "Monotone"},
		{"SETTLE_FROM_ZERO_UNCHECKED", "relay.pml", late, "Monotone"},
		{"CURSOR_BEFORE_ANSWERS", "relay.pml", lost, "NoGap"},
		{"RELEASE_BEFORE_ANSWERS", "relay.pml", lost, "NoGap"},
		{"UNKNOWN_IS_STORED", "relay.pml", lost, "NoGap"},
		{"UNAVAILABLE_PASSES", "relay.pml", lost, "NoGap"},
		{"REFUSED_IS_DROPPED", "relay.pml", lost, "NoGap"},
		{"SKIPPED_PASSES", "relay.pml", lost, "NoGap"},
		{"HOLD_APART", "relay.pml", lost, "NoGap"},
		{"HOLD_REVIVES", "relay.pml", operated, "Discarded"},
		{"BEGIN_AT_OWN_POSITION", "relay.pml", twice, "Settle"},
		{"POSITION_READ_BEFORE_ACQUIRE", "relay.pml", lost, "Settle"},
		{"HELD_NOT_READ", "relay.pml", lost, "Delivered"},
		{"HELD_READ_BEFORE_ACQUIRE", "relay.pml", lost, "Delivered"},
		{"WAITING_OVERTAKES", "relay.pml", lost, "KeyOrder"},
		{"PARKED_FREES", "relay.pml", lost, "KeyOrder"},
		{"PUBLISHER_GOES_ON", "relay.pml", lost, "FirstArrivals"},
		{"MORE_IS_FORGOTTEN", "relay.pml", lost, "Delivered"},
		{"LOWER_IS_ALONE", "relay.pml", again, "KeyOrder"},
		{"UNSURE_PUBLISHES", "relay.pml", lost, "Unsure"},
		{"DEAD_LEASES_STAND", "relay.pml", lost, "Delivered"},
		{"NOBODY_LOOKS", "relay.pml", operated, "Delivered"},
		{"REFUSE_IS_TRIED_AGAIN", "relay.pml", alive, "comes"},

		{"CLAIM_AFTER_POSITION", "scan.pml", writers, "NothingSkipped"},
		{"CLAIM_ENDS_BEFORE_COMMIT", "scan.pml", writers, "NothingSkipped"},
		{"CLAIMS_BEFORE_READ", "scan.pml", writers, "NothingSkipped"},
		{"PROVEN_AFTER_READ", "scan.pml", writers, "NothingSkipped"},
		{"NOT_READ_AGAIN", "scan.pml", writers, "NothingSkipped"},
		{"OLD_CLAIMS_FOR_MORE", "scan.pml", writers, "NothingSkipped"},
		{"GAPS_ARE_PASSED", "scan.pml", writers, "NothingSkipped"},
	}
	tested := map[string][]string{}
	for _, m := range mutations {
		tested[m.model] = append(tested[m.model], m.mistake)
	}
	for model, mistakes := range tested {
		if in := mistakesOf(t, model); !slices.Equal(in, slices.Sorted(slices.Values(mistakes))) {
			t.Errorf("the mistakes of %s are %v, but %v are tested", model, in, mistakes)
		}
	}
	requireSpin(t)
	for _, m := range mutations {
		t.Run(m.mistake, func(t *testing.T) {
			t.Parallel()
			optimise := "-O0" // an error is found sooner than the compiler would be done
			if m.model == "scan.pml" {
				optimise = "-O1"
			}
			r := check(t, m.model, optimise, append(bounds{m.mistake, "CONSEQUENCES"}, m.bounds...))
			if r.broken != m.breaks {
				t.Errorf("it breaks %q, want %q\n%s", r.broken, m.breaks, r.trail)
			}
		})
	}
}

// mistakesOf returns what a model can be told to do wrong: all that is asked for with
// ifdef or defined, and is no bound.
func mistakesOf(t *testing.T, model string) []string {
	asked := regexp.MustCompile(`(?m)#ifn?def (\w+)|defined\((\w+)\)`)
	found := map[string]bool{}
	for _, m := range asked.FindAllStringSubmatch(read(t, model), -1) {
		found[m[1]+m[2]] = true
	}
	for _, bound := range []string{"MESSAGES", "BATCH", "TROUBLES", "FAILURES", "LATE", "OPERATIONS", "WRITERS", "POSITIONS", "LIVENESS", "CONSEQUENCES"} {
		delete(found, bound)
	}
	var mistakes []string
	for name := range found {
		mistakes = append(mistakes, name)
	}
	slices.Sort(mistakes)
	return mistakes
}

func read(t *testing.T, model string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(models, model))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// requireSpin skips a test where models can't be checked.
func requireSpin(t *testing.T) {
	t.Helper()
	for _, program := range []string{"spin", "cc"} {
		if _, err := exec.LookPath(program); err != nil {
			servers.Missing(t, "spin, or no C compiler: apt-get install spin gcc libc6-dev", err)
		}
	}
}

// result is what spin has found.
type result struct {
	// broken is the name of what does not hold, "" where all does, and trail what
	// happens before.
	broken, trail string
	// states tells how much there was to visit.
	states string
}

// slots bounds how many checks run at once: each wants a core, and memory.
var slots = make(chan struct{}, 2)

// check has spin visit every state of a model.
func check(t *testing.T, model, optimise string, defined bounds) result {
	t.Helper()
	slots <- struct{}{}
	defer func() { <-slots }()
	w := workshop{TB: t, dir: t.TempDir()}
	text := read(t, model)
	if err := os.WriteFile(filepath.Join(w.dir, model), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var defines []string
	for _, d := range defined {
		defines = append(defines, "-D"+d)
	}
	live := slices.Contains(defined, "LIVENESS")
	w.run("spin", append(append([]string{"-a"}, defines...), model)...)
	if live {
		w.run("cc", optimise, "-w", "-DCOLLAPSE", "-DNFAIR=6", "-o", "pan", "pan.c")
	} else {
		w.run("cc", optimise, "-w", "-DCOLLAPSE", "-DSAFETY", "-o", "pan", "pan.c")
	}
	verify := []string{"-m10000", "-w22"}
	if live {
		verify = append(verify, "-a", "-f")
	}
	out := w.run("./pan", verify...)
	errs := regexp.MustCompile(`errors: (\d+)`).FindStringSubmatch(out)
	if errs == nil || strings.Contains(out, "max search depth too small") || errs[1] == "0" && strings.Contains(out, "Search not completed") {
		t.Fatalf("spin did not visit all of %s:\n%s", model, out)
	}
	r := result{states: regexp.MustCompile(`\d+ states, stored.*`).FindString(out)}
	if errs[1] == "0" {
		return r
	}
	r.trail = w.run("spin", append(append([]string{"-t"}, defines...), model)...)
	r.broken = invariant(out, r.trail, strings.Split(text, "\n"))
	return r
}

// invariant names what an error breaks: the comment beside the assertion says so.
func invariant(out, trail string, lines []string) string {
	if strings.Contains(out, "acceptance cycle") {
		return "comes"
	}
	if at := regexp.MustCompile(`pml:(\d+), Error: assertion violated`).FindStringSubmatch(trail); at != nil {
		n, _ := strconv.Atoi(at[1]) // it is a number
		if name := tag.FindStringSubmatch(lines[n-1]); name != nil {
			return name[1]
		}
	}
	return fmt.Sprintf("what has no name: %q", regexp.MustCompile(`pan:1: .*`).FindString(out))
}

// tag is a comment that names what is beside it, as relay/doc.go or the code does.
var tag = regexp.MustCompile(`/\* (\w+)(?::[^*]*)? \*/`)

// workshop is where a verifier is built.
type workshop struct {
	testing.TB
	dir string
}

// run runs a program, which must succeed, and returns what it wrote.
func (w workshop) run(name string, args ...string) string {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), name, args...)
	cmd.Dir = w.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

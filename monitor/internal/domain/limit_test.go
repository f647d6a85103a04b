package domain_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/uow-go/uow/monitor/internal/domain"
)

func TestLimitKeepsTheOldAndRefusesTheNew(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.eval(0, values("y", "z"))
	w.group.Limit = 3
	check(t, "transitions", w.eval(1, values("a", "b", "c", "d", "y", "z")), "firing")
	firing := instances(w, domain.Firing)
	if !strings.HasSuffix(firing, "y,z") {
		t.Errorf("firing: %s, want y and z among them", firing)
	}
	check(t, "firing", len(w.alerts), 3)
	health := w.evaluations.Rules["r1"]
	check(t, "refused", health.Refused, 3)
	check(t, "error", health.LastError, "domain: 3 new alerts refused: the group's limit is 3")
	checkTime(t, "since", health.ErrorSince, at(1))
}

func TestLimitTakesTheLowestFingerprints(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e", "f"}
	byFingerprint := slices.Clone(all)
	slices.SortFunc(byFingerprint, func(a, b string) int {
		return strings.Compare(domain.Fingerprint(sample(a, 0).Labels), domain.Fingerprint(sample(b, 0).Labels))
	})
	want := slices.Sorted(slices.Values(byFingerprint[:2]))
	for range 10 {
		w := newWorld(t, domain.Rule{})
		w.group.Limit = 2
		w.eval(0, values(all...))
		check(t, "firing", instances(w, domain.Firing), strings.Join(want, ","))
	}
}

func TestLimitCountsWhatIsStillActive(t *testing.T) {
	w := newWorld(t, domain.Rule{KeepFiringFor: 2 * second})
	w.group.Limit = 1
	w.eval(0, values("a"))
	check(t, "kept firing", w.each(1, 2, values("bb")), "")
	check(t, "resolved", w.eval(3, values("bb")), "resolved firing")
	check(t, "refused", w.evaluations.Rules["r1"].Refused, 0)
	check(t, "error", w.evaluations.Rules["r1"].LastError, "")
}

func TestLowerLimitDropsNoAlert(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.eval(0, values("a", "b", "c"))
	w.group.Limit = 1
	check(t, "transitions", w.eval(1, values("a", "b", "c")), "")
	check(t, "firing", instances(w, domain.Firing), "a,b,c")
	check(t, "refused", w.evaluations.Rules["r1"].Refused, 0)
}

func TestLimitIsForEachRule(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.group.Rules = append(w.group.Rules, domain.Rule{UID: "r2", Name: "Other"})
	w.group.Limit = 1
	w.eval(0, values("a", "b"), values("c", "d"))
	check(t, "alerts", len(w.alerts), 2)
	check(t, "refused by r1", w.evaluations.Rules["r1"].Refused, 1)
	check(t, "refused by r2", w.evaluations.Rules["r2"].Refused, 1)
}

func TestRefusedAgainStaysInactive(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.policy = domain.GapCount
	w.eval(0, values("a"))
	w.eval(1, values("bb")) // a resolves
	w.group.Limit = 1
	check(t, "transitions", w.eval(2, values("a", "bb")), "")
	check(t, "inactive", instances(w, domain.Inactive), "a")
	w.eval(1000, values("a", "bb"))
	check(t, "inactive after the retention", instances(w, domain.Inactive), "")
}

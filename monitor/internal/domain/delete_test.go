package domain_test

import (
	"reflect"
	"testing"

	"github.com/uow-go/uow/monitor/internal/domain"
)

func TestDeletedRuleLosesNoResolve(t *testing.T) {
	for _, c := range []struct {
		name string
		rule domain.Rule
		from domain.State
		hold domain.Result
	}{
		{"firing", domain.Rule{}, domain.Firing, values("a")},
		{"pending", domain.Rule{For: 9 * second}, domain.Pending, values("a")},
		{"held", domain.Rule{}, domain.Firing, failing()},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.rule)
			w.policy = domain.GapCount
			w.eval(0, values("a"))
			w.eval(1, c.hold)
			w.group.Rules = []domain.Rule{{UID: "r2", Name: "Other"}}
			check(t, "transitions", w.eval(2, values()), "rule_deleted")
			check(t, "from", w.out.Transitions[0].From, c.from)
			check(t, "to", w.out.Transitions[0].To, domain.Inactive)
			check(t, "state", w.alert().State, domain.Inactive)
			check(t, "hold", w.alert().Hold, domain.HoldNone)
			checkTime(t, "resolved at", w.alert().ResolvedAt, at(2))
			_, known := w.evaluations.Rules["r1"]
			check(t, "its health is kept", known, false)
			check(t, "at 15 minutes", w.eval(2+900, values()), "")
			check(t, "stored", len(w.alerts), 1)
			w.eval(3+900, values())
			check(t, "stored after 15 minutes", len(w.alerts), 0)
		})
	}
}

func TestDeletedRuleThatReturnsBeginsAnEpisode(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	rules := w.group.Rules
	w.eval(0, values("a"))
	w.group.Rules = nil
	w.eval(1)
	w.group.Rules = rules
	check(t, "transitions", w.eval(2, values("a")), "firing")
	check(t, "episode", w.alert().Episode, 2)
}

func TestDeleteForAGroupThatIsGone(t *testing.T) {
	w := newWorld(t, domain.Rule{})
	w.eval(0, values("a"))
	w.eval(1, failing())
	before := w.alert()
	a, tr := domain.Delete(before, at(7), "the rule file is gone")
	check(t, "state", a.State, domain.Inactive)
	check(t, "hold", a.Hold, domain.HoldNone)
	checkTime(t, "resolved at", a.ResolvedAt, at(7))
	checkTime(t, "fired at", a.FiredAt, at(0))
	check(t, "kind", tr.Kind, domain.RuleDeleted)
	check(t, "id", tr.ID, before.ID+"#3")
	check(t, "reason", tr.Reason, "the rule file is gone")
	check(t, "the input's state", before.State, domain.Firing)

	again, none := domain.Delete(a, at(8), "again")
	if !reflect.DeepEqual(again, a) || !reflect.DeepEqual(none, domain.Transition{}) {
		t.Errorf("deleting an inactive alert: got %+v and %+v, want no change", again, none)
	}
}

func TestForgetKeepsTheGreatestNumbers(t *testing.T) {
	v := domain.Evaluations{}.Forget(domain.Alert{Episode: 2, Changes: 9}).Forget(domain.Alert{Episode: 3, Changes: 5})
	check(t, "forgotten", v.Forgotten, domain.Counters{Episode: 3, Changes: 9})
}

func TestDeletedRulesEndInTheOrderOfTheirIDs(t *testing.T) {
	for range 10 { // the harness hands the alerts over in random order
		w := newWorld(t, domain.Rule{})
		w.group.Rules = append(w.group.Rules, domain.Rule{UID: "r2", Name: "Other"})
		w.eval(0, values("a"), values("a"))
		w.group.Rules = nil
		check(t, "transitions", w.eval(1), "rule_deleted rule_deleted")
		check(t, "rules", w.out.Transitions[0].Rule+w.out.Transitions[1].Rule, "r1r2")
	}
}

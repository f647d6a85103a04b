package application_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// reconcile tells the world, at a time, which groups there are.
func (w *world) reconcile(seconds int, groups ...string) {
	w.t.Helper()
	if err := w.tryReconcile(seconds, groups...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tryReconcile(seconds int, groups ...string) error {
	w.now = at(seconds)
	return w.evaluator.Reconcile(context.Background(), groups, w.now)
}

// told returns how many messages there are of a kind.
func (w *world) told(kind domain.TransitionKind) (n int) {
	w.t.Helper()
	for _, m := range w.messages() {
		if notification(w.t, m).Transition.Kind == kind {
			n++
		}
	}
	return n
}

func TestT4_TheAlertsOfAVanishedGroupEndOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		w.group = groupNamed("stays")
		w.eval(0, down("x"))
		w.group = groupNamed("g")
		w.eval(0, down("a", "b"), slow("p"))
		w.eval(10, down("a"), slow("p"))
		committed := 0
		w.evaluator.Committed = func(transitions []domain.Transition) { committed += len(transitions) }
		for _, seconds := range []int{60, 61, 600} {
			w.reconcile(seconds, "stays", "not evaluated yet")
		}
		if w.reopen != nil { // and after a restart
			w = w.reopen()
			w.reconcile(601, "stays")
		}
		if got, want := w.story(), "a:firing b:firing p:pending x:firing b:resolved a:rule_deleted p:rule_deleted"; got != want {
			t.Errorf("transitions: %s, want %s", got, want)
		}
		if a := w.alert("a"); a.State != domain.Inactive || !a.ResolvedAt.Equal(at(60)) {
			t.Errorf("a = %+v", a)
		}
		if x := w.alert("x"); x.State != domain.Firing {
			t.Errorf("x = %+v", x)
		}
		// p has not fired, so nobody knows of it.
		if got := w.told(domain.RuleDeleted); got != 2 {
			t.Errorf("%d messages of the end, want one for each destination", got)
		}
		deleted := 0
		for _, d := range w.deliveries() {
			if d.Kind == domain.RuleDeleted {
				deleted++
			}
		}
		if deleted != 2 || committed != 2 {
			t.Errorf("%d deliveries of the end, %d transitions announced", deleted, committed)
		}
	})
}

func TestT4_TheEndOfAGroupIsCommittedAsAWholeOrNotAtAll(t *testing.T) {
	faults{
		prepare: func(w *world) { w.eval(0, down("a", "b"), slow("p")) },
		act:     func(w *world) error { return w.tryReconcile(60) },
	}.run(t)
}

// Each group is a unit of its own: some may have ended when another fails.
func TestT4_TheEndOfSeveralGroupsIsCompletedByAnotherTry(t *testing.T) {
	faults{
		parts: true,
		prepare: func(w *world) {
			for _, g := range []string{"g", "h", "i"} {
				w.group = groupNamed(g)
				w.eval(0, down("on "+g))
			}
		},
		act: func(w *world) error { return w.tryReconcile(60, "i") },
	}.run(t)
}

func TestReconcileWritesNothingWhenNothingVanished(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	w.probe.inject(nil)
	w.reconcile(60, "g")
	for _, cs := range w.probe.commits {
		if !cs.Empty() {
			t.Errorf("wrote %+v", cs)
		}
	}
}

func TestAnEndedAlertIsKeptForTheRetention(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	w.reconcile(60)
	end := 60 + int(domain.ResolvedRetention/time.Second)
	w.reconcile(end)
	if a := w.alert("a"); a.State != domain.Inactive {
		t.Errorf("at the end of the retention: %+v", a)
	}
	w.reconcile(end + 1)
	if alerts := w.alerts(); len(alerts) != 0 {
		t.Errorf("after the retention: %+v", alerts)
	}
	w.reconcile(end + 2)
	if got, want := w.story(), "a:firing a:rule_deleted"; got != want {
		t.Errorf("transitions: %s, want %s", got, want)
	}
}

func TestNoTransitionIDIsUsedTwiceWhenAGroupComesBack(t *testing.T) {
	for name, pause := range map[string]int{
		"within the retention": 60, "when it is forgotten": int(domain.ResolvedRetention/time.Second) + 120,
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
				w := open(t)
				w.eval(0, down("a"))
				w.eval(10)
				w.eval(20, down("a", "b"))
				w.reconcile(30)
				w.reconcile(30 + pause)
				w.eval(40+pause, down("a", "b"))
				w.reconcile(50 + pause)
				seen := map[string]bool{}
				episodes := map[string][]int64{}
				for _, tr := range w.transitions() {
					if seen[tr.ID] {
						t.Errorf("transition id %s was given twice", tr.ID)
					}
					seen[tr.ID] = true
					if tr.Kind == domain.BecameFiring {
						episodes[tr.Labels["instance"]] = append(episodes[tr.Labels["instance"]], tr.Episode)
					}
				}
				if got, want := w.story(), "a:firing a:resolved a:firing b:firing a:rule_deleted b:rule_deleted a:firing b:firing a:rule_deleted b:rule_deleted"; got != want {
					t.Errorf("transitions: %s, want %s", got, want)
				}
				if a := episodes["a"]; !slices.IsSorted(a) || len(slices.Compact(slices.Clone(a))) != 3 {
					t.Errorf("episodes of a: %v", a)
				}
				ids := map[string]bool{}
				for _, m := range w.messages() {
					if ids[m.ID] {
						t.Errorf("message id %s was given twice", m.ID)
					}
					ids[m.ID] = true
				}
			})
		})
	}
}

func TestReconcileReportsWhatFails(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	w.evaluator.Committed = func([]domain.Transition) { t.Error("announced what was not committed") }
	w.probe.inject(func(step string) error {
		if step == "before commit" && w.probe.open > 0 {
			return errBroken
		}
		return nil
	})
	if err := w.tryReconcile(60); !errors.Is(err, errBroken) {
		t.Errorf("err = %v", err)
	}
}

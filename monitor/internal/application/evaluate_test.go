package application_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// beforeTheSlot leaves alerts of which the next slot changes, removes and keeps
// some.
func beforeTheSlot(w *world) { w.eval(0, down("a", "b"), slow("p")) }

// theSlot comes after a gap: b resolves, c fires, p is removed.
func theSlot(w *world) error { return w.try(at(30), down("a", "c")) }

func TestT1_ASlotIsCommittedAsAWholeOrNotAtAll(t *testing.T) {
	faults{
		prepare: beforeTheSlot,
		act:     theSlot,
		again: func(w *world, committed bool) error {
			err := theSlot(w)
			if committed && errors.Is(err, application.ErrSlotDone) {
				return nil
			}
			return err
		},
	}.run(t)
}

func TestT1_TheFirstSlotIsCommittedAsAWholeOrNotAtAll(t *testing.T) {
	act := func(w *world) error { return w.try(at(0), down("a"), slow("p")) }
	faults{
		prepare: func(*world) {},
		act:     act,
		again: func(w *world, committed bool) error {
			err := act(w)
			if committed && errors.Is(err, application.ErrSlotDone) {
				return nil
			}
			return err
		},
	}.run(t)
}

// The other tests compare what is stored with what theSlot stores; this one says
// what that is.
func TestASlotStoresEverythingOfIt(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		beforeTheSlot(w)
		if err := theSlot(w); err != nil {
			t.Fatal(err)
		}
		if got, want := w.story(), "a:firing b:firing p:pending b:resolved c:firing p:inactive"; got != want {
			t.Errorf("transitions: %s, want %s", got, want)
		}
		for instance, state := range map[string]domain.State{"a": domain.Firing, "b": domain.Inactive, "c": domain.Firing} {
			if got := w.alert(instance).State; got != state {
				t.Errorf("%s is %s, want %s", instance, got, state)
			}
		}
		if len(w.alerts()) != 3 {
			t.Errorf("alerts = %+v", w.alerts())
		}
		if cursor := found(w, w.state.Evaluations); len(cursor) != 1 || !cursor[0].Slot.Equal(at(30)) || cursor[0].Missed != 2 {
			t.Errorf("evaluations = %+v", cursor)
		}
		// a, b, c fire and b resolves, at two destinations.
		if got := len(w.deliveries()); got != 8 {
			t.Errorf("%d deliveries, want 8", got)
		}
		if got := len(w.messages()); got != 8 {
			t.Errorf("%d messages, want 8", got)
		}
	})
}

func TestASlotIsCommittedOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		beforeTheSlot(w)
		before := w.dump()
		for _, slot := range []time.Time{at(0), at(-10), at(0).Add(-time.Nanosecond)} {
			if err := w.try(slot, down("new")); !errors.Is(err, application.ErrSlotDone) {
				t.Errorf("slot %s: err = %v", slot, err)
			}
		}
		if got := w.dump(); got != before {
			t.Errorf("a slot that was done: %s", difference(got, before))
		}
		w.eval(10, down("a"))
	})
}

// Two replicas see the same slot at the same time, with different eyes.
func TestT7_OfTwoEvaluatorsOfASlotExactlyOneWins(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"first slot": func(*world) {}, "next slot": beforeTheSlot,
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
				results := [2][]domain.Result{{down("a", "c"), slow()}, {down("a", "d"), slow("q")}}
				var alone [2]string
				for i := range alone {
					w := open(t)
					prepare(w)
					if err := w.try(at(30), results[i]...); err != nil {
						t.Fatal(err)
					}
					alone[i] = w.dump()
				}

				w := open(t)
				prepare(w)
				meeting := newMeeting(2)
				w.probe.inject(func(step string) error {
					if step == "before commit" { // both have read
						meeting.arrive()
					}
					return nil
				})
				w.now = at(30)
				var errs [2]error
				var both sync.WaitGroup
				for i := range errs {
					g := w.group
					g.Query = func(context.Context, time.Time) ([]domain.Result, error) { return results[i], nil }
					both.Go(func() { errs[i] = w.evaluator.Evaluate(context.Background(), g, at(30)) })
				}
				both.Wait()
				w.probe.inject(nil)
				winner := slices.Index(errs[:], nil)
				if winner < 0 || errs[1-winner] == nil {
					t.Fatalf("errors: %v, want one", errs)
				}
				if lost := errs[1-winner]; !errors.Is(lost, uow.ErrConflict) && !errors.Is(lost, application.ErrSlotDone) {
					t.Errorf("the loser got %v", lost)
				}
				if err := w.try(at(30), results[1-winner]...); !errors.Is(err, application.ErrSlotDone) {
					t.Errorf("the loser's next try got %v", err)
				}
				if got := w.dump(); got != alone[winner] {
					t.Errorf("stored: %s", difference(got, alone[winner]))
				}
			})
		})
	}
}

// meeting lets nobody pass before all have arrived.
type meeting struct{ all sync.WaitGroup }

func newMeeting(n int) *meeting {
	m := &meeting{}
	m.all.Add(n)
	return m
}

func (m *meeting) arrive() {
	m.all.Done()
	m.all.Wait()
}

func TestUnchangedAlertsWriteNothingButTheCursor(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		var many []string
		for i := range 200 {
			many = append(many, fmt.Sprintf("a%03d", i))
		}
		w.eval(0, down(many...), slow("p"))
		w.probe.inject(nil)
		w.eval(10, down(many...), slow("p"))
		if len(w.probe.commits) != 1 {
			t.Fatalf("%d commits", len(w.probe.commits))
		}
		cs := w.probe.commits[0]
		if len(cs.Writes) != 1 || cs.Writes[0].Collection != "evaluations" || len(cs.Messages) != 0 {
			t.Errorf("%d writes, %d messages: %+v", len(cs.Writes), len(cs.Messages), cs.Writes)
		}
	})
}

func TestOneChangedAlertWritesNoOther(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a", "b", "c"))
	w.probe.inject(nil)
	w.eval(10, down("a", "b"))
	var written []string
	for _, write := range w.probe.commits[0].Writes {
		written = append(written, write.Op.String()+" "+write.Collection)
	}
	slices.Sort(written)
	if got, want := strings.Join(written, ", "), "insert deliveries, insert deliveries, insert transitions, update alerts, update evaluations"; got != want {
		t.Errorf("wrote %s, want %s", got, want)
	}
}

func TestT2_MissedSlotsAreRecordedAsAGap(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		w.eval(0, down("a"))
		w.eval(10, down("a"))
		if gaps := found(w, w.state.Gaps); len(gaps) != 0 {
			t.Errorf("without a missed slot: %+v", gaps)
		}
		w.eval(50, down("a"))
		w.eval(60, down("a"))
		w.eval(80, down("a"))
		gaps := found(w, w.state.Gaps)
		if len(gaps) != 2 {
			t.Fatalf("gaps = %+v", gaps)
		}
		slices.SortFunc(gaps, func(a, b domain.Gap) int { return a.To.Compare(b.To) })
		for i, want := range []domain.Gap{{From: at(10), To: at(50), Missed: 3}, {From: at(60), To: at(80), Missed: 1}} {
			if g := gaps[i]; g.Group != "g" || !g.From.Equal(want.From) || !g.To.Equal(want.To) || g.Missed != want.Missed {
				t.Errorf("gap %d = %+v, want %+v", i, g, want)
			}
		}
	})
}

func TestNoTransactionIsOpenDuringTheQuery(t *testing.T) {
	w := newWorld(t)
	g := w.group
	asked := 0
	g.Query = func(context.Context, time.Time) ([]domain.Result, error) {
		asked++
		if open := w.probe.transactions(); open != 0 {
			t.Errorf("%d transactions are open during the query", open)
		}
		if len(w.probe.steps) != 0 {
			t.Errorf("before the query the store was asked: %v", w.probe.steps)
		}
		return []domain.Result{down("a"), slow()}, nil
	}
	for i := range 2 {
		w.probe.inject(nil)
		if err := w.evaluator.Evaluate(t.Context(), g, at(10*i)); err != nil {
			t.Fatal(err)
		}
		if open := w.probe.transactions(); open != 0 {
			t.Errorf("%d transactions are open afterwards", open)
		}
	}
	if asked != 2 || !slices.Contains(w.probe.steps, "after begin") {
		t.Errorf("%d queries, steps %v", asked, w.probe.steps)
	}
}

func TestT3_AQueryThatFailsChangesNothing(t *testing.T) {
	w := newWorld(t)
	beforeTheSlot(w)
	before := w.dump()
	w.probe.inject(nil)
	g := w.group
	g.Query = func(context.Context, time.Time) ([]domain.Result, error) { return nil, errBroken }
	if err := w.evaluator.Evaluate(t.Context(), g, at(10)); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "group g: query") {
		t.Errorf("err = %v", err)
	}
	if len(w.probe.steps) != 0 {
		t.Errorf("steps %v", w.probe.steps)
	}
	if got := w.dump(); got != before {
		t.Errorf("stored: %s", difference(got, before))
	}
	w.eval(10, down("a"))
}

func TestACancelledEvaluationChangesNothing(t *testing.T) {
	w := newWorld(t)
	beforeTheSlot(w)
	before := w.dump()
	ctx, cancel := context.WithCancel(t.Context())
	g := w.group
	g.Query = func(context.Context, time.Time) ([]domain.Result, error) {
		cancel()
		return []domain.Result{down(), slow()}, nil
	}
	if err := w.evaluator.Evaluate(ctx, g, at(10)); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if got := w.dump(); got != before {
		t.Errorf("stored: %s", difference(got, before))
	}
}

func TestT6_ALateTransitionIsMarked(t *testing.T) {
	w := newWorld(t)
	g := w.group
	for i, after := range []time.Duration{0, 10 * time.Second, 10*time.Second + time.Nanosecond, time.Hour} {
		instance := fmt.Sprint(i)
		g.Query = func(context.Context, time.Time) ([]domain.Result, error) {
			return []domain.Result{down(instance), slow()}, nil
		}
		slot := at(10 * i)
		w.now = slot.Add(after)
		if err := w.evaluator.Evaluate(t.Context(), g, slot); err != nil {
			t.Fatal(err)
		}
		for _, m := range w.messages() {
			n := notification(t, m)
			if want := after > g.Interval; n.Transition.Labels["instance"] == instance && n.Late != want {
				t.Errorf("%s after its slot: late = %v, want %v", after, n.Late, want)
			}
		}
	}
}

// Who is told after a commit is told of what was committed, and of nothing else.
func TestListenersAreToldAfterTheCommit(t *testing.T) {
	w := newWorld(t)
	var recorded, committed []string
	w.evaluator.Recorded = func(_ context.Context, g application.Group, slot time.Time, alerts []domain.Alert) {
		text := fmt.Sprint(g.ID, " ", int(slot.Sub(origin).Seconds()))
		for _, a := range alerts {
			text += fmt.Sprint(" ", a.Labels["instance"], ":", a.State)
			if stored := w.alert(a.Labels["instance"]); stored.State != a.State || stored.Changes != a.Changes {
				t.Errorf("recorded %+v, stored %+v", a, stored)
			}
		}
		recorded = append(recorded, text)
	}
	w.evaluator.Committed = func(transitions []domain.Transition) {
		if open := w.probe.transactions(); open != 0 {
			t.Errorf("%d transactions are open", open)
		}
		for _, tr := range transitions {
			committed = append(committed, tr.Labels["instance"]+":"+string(tr.Kind))
		}
	}
	w.eval(0, down("a"), slow("p"))
	w.eval(10, down("a"), slow("p"))
	w.probe.inject(func(step string) error {
		if step == "before commit" {
			return errBroken
		}
		return nil
	})
	if err := w.try(at(20)); !errors.Is(err, errBroken) {
		t.Errorf("err = %v", err)
	}
	w.probe.inject(nil)
	w.eval(20)
	if got, want := strings.Join(recorded, ", "), "g 0 a:firing p:pending, g 10 a:firing p:pending, g 20 a:inactive"; got != want {
		t.Errorf("recorded %s, want %s", got, want)
	}
	if got, want := strings.Join(committed, ", "), "a:firing, p:pending, a:resolved, p:inactive"; got != want {
		t.Errorf("committed %s, want %s", got, want)
	}
}

func TestGroupsDoNotTouchEachOther(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	w.group = groupNamed("h")
	w.eval(0, down("b"))
	w.eval(10)
	if a, b := w.alert("a").State, w.alert("b").State; a != domain.Firing || b != domain.Inactive {
		t.Errorf("a is %s, b is %s", a, b)
	}
}

// The restart is of the whole database file.
func TestT2_ForSurvivesARestart(t *testing.T) {
	w := newSQLiteWorld(t, t.TempDir()+"/tocsin.db")
	for s := 0; s <= 50; s += 10 {
		w.eval(s, down(), slow("p"))
	}
	w = w.reopen()
	w.eval(60, down(), slow("p"))
	if got, want := w.story(), "p:pending p:firing"; got != want {
		t.Errorf("transitions: %s, want %s", got, want)
	}
	if a := w.alert("p"); !a.ActiveAt.Equal(at(0)) || !a.FiredAt.Equal(at(60)) {
		t.Errorf("alert = %+v", a)
	}
}

package application_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// schedule is a Scheduler of one group with an interval of 10 seconds, inside a
// synctest bubble. It remembers what it evaluates, in seconds since the start.
type schedule struct {
	application.Scheduler
	group application.Group
	start time.Time

	mu      sync.Mutex
	tries   []string // "slot@time"
	told    []string // by the observer
	skipped []int
	// evaluate, when set, is what an evaluation does.
	evaluate func(ctx context.Context, slot int) error
}

func newSchedule() *schedule {
	s := &schedule{start: time.Now(), group: application.Group{
		Group: domain.Group{ID: "g", Interval: 10 * time.Second},
	}}
	s.group.NextSlot = func(after time.Time) time.Time {
		return after.Truncate(s.group.Interval).Add(s.group.Interval)
	}
	s.Scheduler = application.Scheduler{
		Evaluate: s.Try, Observer: s, Logger: slog.New(slog.DiscardHandler), Clock: time.Now,
		Ready: func(context.Context, application.Group) error { return nil },
	}
	return s
}

func (s *schedule) seconds(t time.Time) int { return int(t.Sub(s.start) / time.Second) }

// Try is the scheduler's Evaluate.
func (s *schedule) Try(ctx context.Context, _ application.Group, slot time.Time) error {
	n := s.seconds(slot)
	s.mu.Lock()
	s.tries = append(s.tries, fmt.Sprintf("%d@%d", n, s.seconds(time.Now())))
	s.mu.Unlock()
	if s.evaluate == nil {
		return nil
	}
	return s.evaluate(ctx, n)
}

// Evaluated implements application.SchedulerObserver.
func (s *schedule) Evaluated(group string, slot time.Time, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf("%s %d %s %v", group, s.seconds(slot), took, err))
}

// Skipped implements application.SchedulerObserver.
func (s *schedule) Skipped(_ string, slots int) { s.skipped = append(s.skipped, slots) }

// run runs the scheduler for a time of the bubble.
func (s *schedule) run(t *testing.T, d time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	s.Run(ctx, []application.Group{s.group})
}

func (s *schedule) want(t *testing.T, tries ...string) {
	t.Helper()
	if !slices.Equal(s.tries, tries) {
		t.Errorf("evaluated %v, want %v", s.tries, tries)
	}
}

func (s *schedule) wantSkipped(t *testing.T, slots ...int) {
	t.Helper()
	if !slices.Equal(s.skipped, slots) {
		t.Errorf("skipped %v, want %v", s.skipped, slots)
	}
}

func TestSlotsAreOnTheGrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		time.Sleep(3 * time.Second)
		s.evaluate = func(context.Context, int) error { time.Sleep(4 * time.Second); return nil }
		s.run(t, 36*time.Second)
		s.want(t, "10@10", "20@20", "30@30")
		if want := []string{"g 10 4s <nil>", "g 20 4s <nil>", "g 30 4s <nil>"}; !slices.Equal(s.told, want) {
			t.Errorf("observed %q, want %q", s.told, want)
		}
		s.wantSkipped(t)
	})
}

func TestT6_MissedSlotsAreEvaluatedInOrderAtTheirOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		s.evaluate = func(_ context.Context, slot int) error {
			if slot == 10 {
				time.Sleep(35 * time.Second)
			}
			return nil
		}
		s.run(t, 61*time.Second)
		s.want(t, "10@10", "20@45", "30@45", "40@45", "50@50", "60@60")
		s.wantSkipped(t)
	})
}

// behind is an evaluation of slot 10 after which the group is behind.
func behind(t *testing.T, maxCatchUp int, took time.Duration, run time.Duration) *schedule {
	s := newSchedule()
	s.MaxCatchUp = maxCatchUp
	s.evaluate = func(_ context.Context, slot int) error {
		if slot == 10 {
			time.Sleep(took)
		}
		return nil
	}
	s.run(t, run)
	return s
}

func TestT6_CatchingUpIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// At 59 the slots 20 to 50 are over: three after 20.
		s := behind(t, 3, 49*time.Second, 71*time.Second)
		s.want(t, "10@10", "20@59", "30@59", "40@59", "50@59", "60@60", "70@70")
		s.wantSkipped(t)
	})
	synctest.Test(t, func(t *testing.T) {
		// At 65 there is one more: 20, 30, 40, 50 and 60 are given up.
		s := behind(t, 3, 55*time.Second, 81*time.Second)
		s.want(t, "10@10", "70@70", "80@80")
		s.wantSkipped(t, 5)
	})
}

func TestCatchUpIsTenSlotsUnlessSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := behind(t, 0, 115*time.Second, 131*time.Second)
		if len(s.tries) != 13 {
			t.Errorf("evaluated %v", s.tries)
		}
		s.wantSkipped(t)
	})
	synctest.Test(t, func(t *testing.T) {
		s := behind(t, 0, 125*time.Second, 141*time.Second)
		s.want(t, "10@10", "140@140")
		s.wantSkipped(t, 12)
	})
}

func TestT1_AFailingSlotIsTriedUntilItIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		failures := 4
		s.evaluate = func(_ context.Context, slot int) error {
			if slot == 10 && failures > 0 {
				failures--
				return errBroken
			}
			return nil
		}
		s.run(t, 41*time.Second)
		// The waits grow up to the interval: 1, 2, 4, 8 seconds.
		s.want(t, "10@10", "10@11", "10@13", "10@17", "10@25", "20@25", "30@30", "40@40")
		if s.told[0] != "g 10 0s "+errBroken.Error() {
			t.Errorf("observed %q", s.told)
		}
		s.wantSkipped(t)
	})
}

func TestASlotThatFailsTooLongIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		s.MaxCatchUp = 3
		s.evaluate = func(_ context.Context, slot int) error {
			if time.Since(s.start) < 62*time.Second {
				return errBroken
			}
			return nil
		}
		s.run(t, 81*time.Second)
		// At 55 the slots 20, 30, 40 and 50 are over, one more than may be.
		s.want(t, "10@10", "10@11", "10@13", "10@17", "10@25", "10@35", "10@45",
			"60@60", "60@61", "60@63", "70@70", "80@80")
		s.wantSkipped(t, 5)
	})
}

func TestADoneSlotIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		s.evaluate = func(_ context.Context, slot int) error {
			if slot == 20 {
				return fmt.Errorf("wrapped: %w", application.ErrSlotDone)
			}
			return nil
		}
		s.run(t, 31*time.Second)
		s.want(t, "10@10", "20@20", "30@30")
	})
}

func TestT2_NothingIsEvaluatedBeforeItsSourcesAreReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		s.Ready = func(_ context.Context, g application.Group) error {
			if g.ID != "g" {
				t.Errorf("asked for %q", g.ID)
			}
			time.Sleep(25 * time.Second)
			return nil
		}
		s.run(t, 41*time.Second)
		s.want(t, "30@30", "40@40")
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		s.Ready = func(ctx context.Context, _ application.Group) error {
			<-ctx.Done()
			return ctx.Err()
		}
		s.run(t, time.Minute)
		s.want(t)
		if d := time.Since(s.start); d != time.Minute {
			t.Errorf("Run took %s", d)
		}
	})
}

func TestGroupsDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		stuck := s.group
		stuck.ID = "stuck"
		s.Ready = func(ctx context.Context, g application.Group) error {
			if g.ID == "stuck" {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		slowly := s.group
		slowly.ID = "slow"
		evaluate := s.Evaluate
		s.Evaluate = func(ctx context.Context, g application.Group, slot time.Time) error {
			if g.ID == "slow" {
				time.Sleep(time.Hour)
				return nil
			}
			return evaluate(ctx, g, slot)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 31*time.Second)
		defer cancel()
		s.Run(ctx, []application.Group{slowly, stuck, s.group})
		s.want(t, "10@10", "20@20", "30@30")
	})
}

func TestRunEndsWhileItWaits(t *testing.T) {
	for name, c := range map[string]struct {
		evaluate func(context.Context, int) error
		tries    []string
	}{
		"for a slot":   {evaluate: nil, tries: []string{"10@10"}},
		"to try again": {evaluate: func(context.Context, int) error { return errBroken }, tries: []string{"10@10", "10@11", "10@13"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSchedule()
				s.evaluate = c.evaluate
				s.run(t, 14*time.Second)
				if d := time.Since(s.start); d != 14*time.Second {
					t.Errorf("Run ended after %s", d)
				}
				s.want(t, c.tries...)
				s.wantSkipped(t)
			})
		})
	}
}

func TestRunWaitsForARunningEvaluation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		completed := false
		s.evaluate = func(ctx context.Context, _ int) error {
			<-ctx.Done() // it is told to end, and takes its time
			time.Sleep(5 * time.Second)
			completed = true
			return nil
		}
		s.run(t, 12*time.Second)
		if d := time.Since(s.start); !completed || d != 17*time.Second {
			t.Errorf("Run ended after %s, completed: %v", d, completed)
		}
		s.want(t, "10@10")
	})
}

func TestAnEvaluationThatIsCutOffIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		var log bytes.Buffer
		s.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s.evaluate = func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return ctx.Err()
		}
		s.run(t, 12*time.Second)
		if log.Len() > 0 {
			t.Errorf("a stop is no failure: %s", log.String())
		}
		if d := time.Since(s.start); d != 12*time.Second {
			t.Errorf("Run ended after %s", d)
		}
		s.want(t, "10@10")
	})
}

// The real evaluation, cut off: its unit is there or not, and a restart goes on.
func TestT1_AStopNeverLeavesAnEvaluationHalfway(t *testing.T) {
	for _, cut := range []string{"before begin", "after get evaluations", "after find alerts", "before commit", "after commit"} {
		t.Run(cut, func(t *testing.T) {
			w := newWorld(t)
			beforeTheSlot(w)
			nothing := w.dump()
			ctx, cancel := context.WithCancel(t.Context())
			w.probe.inject(func(step string) error {
				if step == cut {
					cancel()
				}
				return nil
			})
			g := w.group
			g.Query = func(context.Context, time.Time) ([]domain.Result, error) {
				return []domain.Result{down("a", "c"), slow()}, nil
			}
			g.NextSlot = func(time.Time) time.Time { return at(30) }
			w.now = at(30)
			s := newSchedule()
			s.Clock = func() time.Time { return w.now }
			s.Evaluate = w.evaluator.Evaluate
			s.Run(ctx, []application.Group{g})
			w.probe.inject(nil)
			if open := w.probe.transactions(); open != 0 {
				t.Errorf("%d transactions were left open", open)
			}
			got := w.dump()
			err := theSlot(w)
			all := w.dump()
			switch {
			case cut == "after commit" && (got != all || !errors.Is(err, application.ErrSlotDone)):
				t.Errorf("err = %v; a part is missing of\n%s", err, got)
			case cut != "after commit" && (got != nothing || err != nil):
				t.Errorf("err = %v; a part was stored:\n%s", err, got)
			}
		})
	}
}

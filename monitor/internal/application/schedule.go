package application

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Scheduler evaluates groups at their slots, each in a goroutine of its own.
type Scheduler struct {
	Evaluate func(ctx context.Context, g Group, slot time.Time) error
	// Ready blocks until the group's sources have been asked once since the start,
	// so that their silence means something.
	Ready func(ctx context.Context, g Group) error
	// Committed, when set, returns the last slot of a group that an earlier Run of
	// this process has committed.
	Committed func(group string) (slot time.Time, ok bool)
	// MaxCatchUp is how many slots a group may be behind before it skips to the
	// present. Default: 10.
	MaxCatchUp int
	Observer   SchedulerObserver
	Logger     *slog.Logger
	Clock      Clock
}

// SchedulerObserver is told of each evaluation.
type SchedulerObserver interface {
	// Evaluated is called after each try: err is nil when it was committed.
	Evaluated(group string, slot time.Time, took time.Duration, err error)
	// Skipped is called when slots were given up.
	Skipped(group string, slots int)
}

// Run evaluates the groups until ctx ends, and returns when all have stopped: an
// evaluation that is running is completed or rolled back before.
func (s *Scheduler) Run(ctx context.Context, groups []Group) {
	var wg sync.WaitGroup
	for _, g := range groups {
		wg.Go(func() { s.run(ctx, g) })
	}
	wg.Wait()
}

func (s *Scheduler) run(ctx context.Context, g Group) {
	if s.Ready(ctx, g) != nil {
		return
	}
	slot := s.first(g)
	for s.sleepUntil(ctx, slot) {
		slot = s.step(ctx, g, slot)
	}
}

// first returns the slot to begin with: the one after the last that this process
// has committed, so that a reload leaves no gap, and otherwise the next one.
func (s *Scheduler) first(g Group) time.Time {
	if s.Committed != nil {
		if last, ok := s.Committed(g.ID); ok {
			if slot := g.NextSlot(last); s.behind(g, slot) <= s.maxCatchUp() {
				return slot
			}
		}
	}
	return g.NextSlot(s.Clock())
}

// step evaluates one slot until it is committed or too far in the past, and
// returns the next one.
func (s *Scheduler) step(ctx context.Context, g Group, slot time.Time) time.Time {
	backoff := min(time.Second, g.Interval)
	for {
		started := s.Clock()
		err := s.Evaluate(ctx, g, slot)
		s.Observer.Evaluated(g.ID, slot, s.Clock().Sub(started), err)
		switch {
		case err == nil || errors.Is(err, ErrSlotDone):
			return s.next(g, slot)
		case ctx.Err() != nil:
			return slot
		}
		s.Logger.Error("evaluation failed, and will be tried again", "group", g.ID, "slot", slot, "error", err)
		if !s.sleepUntil(ctx, s.Clock().Add(backoff)) {
			return slot
		}
		if s.behind(g, slot) > s.maxCatchUp() {
			return s.skip(g, slot)
		}
		backoff = min(2*backoff, g.Interval)
	}
}

func (s *Scheduler) next(g Group, slot time.Time) time.Time {
	next := slot.Add(g.Interval)
	if s.behind(g, next) > s.maxCatchUp() {
		return s.skip(g, next)
	}
	return next
}

// skip gives up the slots from this one to the present, and returns the next one.
func (s *Scheduler) skip(g Group, slot time.Time) time.Time {
	next := g.NextSlot(s.Clock())
	s.Observer.Skipped(g.ID, int(next.Sub(slot)/g.Interval))
	return next
}

// behind returns how many slots after this one are over.
func (s *Scheduler) behind(g Group, slot time.Time) int {
	return int(s.Clock().Sub(slot) / g.Interval)
}

func (s *Scheduler) maxCatchUp() int {
	if s.MaxCatchUp > 0 {
		return s.MaxCatchUp
	}
	return 10
}

func (s *Scheduler) sleepUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(max(0, t.Sub(s.Clock())))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

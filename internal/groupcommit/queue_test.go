package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/driver"
)

// table is a database of one connection, whose commits take a second.
type table struct {
	*Queue[int]
	mu     sync.Mutex
	groups []string
	conns  []int
	lead   func(group []*Request)
}

func newTable(cfg Config) *table {
	cfg.Rows, cfg.Bytes = 1000, 1000
	cfg.Disposable = func(string) bool { return false }
	t := &table{Queue: &Queue[int]{Config: cfg}}
	t.lead = func(group []*Request) {
		for _, r := range group {
			r.Settle(nil)
		}
	}
	return t
}

func (t *table) Yield() {}

func (t *table) Lead(_ context.Context, conn int, group []*Request) {
	var units []string
	for _, r := range group {
		units = append(units, r.ChangeSet.Unit)
	}
	time.Sleep(time.Second)
	t.mu.Lock()
	t.groups, t.conns = append(t.groups, fmt.Sprint(units)), append(t.conns, conn)
	t.mu.Unlock()
	t.lead(group)
}

func (t *table) Leave(next bool) int {
	if next {
		return 7
	}
	return 0
}

func unit(name string, ids ...string) *driver.ChangeSet {
	cs := &driver.ChangeSet{Unit: name}
	for _, id := range ids {
		cs.Writes = append(cs.Writes, driver.Write{Op: driver.Update, Collection: "c", ID: id, Expected: 1, Version: 2})
	}
	return cs
}

// outcomes commits the units one after the other, as fast as they come to wait, and
// returns what became of each.
func (t *table) outcomes(units ...*driver.ChangeSet) map[string]string {
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[string]string{}
	for _, cs := range units {
		wg.Go(func() {
			outcome := "panic"
			defer func() {
				_ = recover()
				mu.Lock()
				defer mu.Unlock()
				got[cs.Unit] = outcome
			}()
			byItself, err := t.Commit(context.Background(), cs, t)
			switch {
			case byItself:
				outcome = "alone"
			case errors.Is(err, driver.ErrConflict):
				outcome = "conflict"
			case errors.Is(err, driver.ErrInDoubt):
				outcome = "in doubt"
			default:
				outcome = fmt.Sprint(err)
			}
		})
		synctest.Wait()
	}
	wg.Wait()
	return got
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestThoseWhoWaitAreTheNextGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTable(Config{Units: 3})
		got := q.outcomes(unit("1", "a"), unit("2", "b"), unit("3", "c"), unit("4", "d"), unit("5", "e"))
		want(t, "groups", fmt.Sprint(q.groups), "[[1] [2 3 4] [5]]")
		want(t, "connections", fmt.Sprint(q.conns), "[0 7 7]")
		want(t, "outcomes", fmt.Sprint(got), "map[1:<nil> 2:<nil> 3:<nil> 4:<nil> 5:<nil>]")
		want(t, "Groups", q.Groups(), 3)
		want(t, "Waiting", q.Waiting(), 0)
	})
}

func TestWhoWantsARowOfTheGroupHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTable(Config{Units: 9})
		got := q.outcomes(unit("1", "a"), unit("2", "b"), unit("3", "b", "c"), unit("4", "d"))
		want(t, "groups", fmt.Sprint(q.groups), "[[1] [2 4]]")
		want(t, "outcomes", fmt.Sprint(got), "map[1:<nil> 2:<nil> 3:conflict 4:<nil>]")
	})
}

func TestWhatWasLeftIsRemembered(t *testing.T) {
	for _, remember := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			q := newTable(Config{Units: 9, Remember: remember})
			q.outcomes(unit("1", "a"))
			outcome := map[bool]string{true: "conflict", false: "<nil>"}[remember > 0]
			want(t, "the second", q.outcomes(unit("2", "a"))["2"], outcome)
			time.Sleep(2 * time.Minute)
			want(t, "the third", q.outcomes(unit("3", "a"))["3"], "<nil>")
		})
	}
}

func TestFatesAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTable(Config{Units: 9})
		q.lead = func(group []*Request) {
			for i, r := range group {
				switch i {
				case 0:
					r.Settle(nil)
				case 1:
					r.Settle(errors.New("refused"))
				default:
					r.LeaveAlone()
				}
			}
		}
		got := q.outcomes(unit("1", "a"), unit("2", "b"), unit("3", "c"), unit("4", "d"))
		want(t, "outcomes", fmt.Sprint(got), "map[1:<nil> 2:<nil> 3:refused 4:alone]")
	})
}

// A leader that panics leaves those of its group in doubt, and the others a leader.
func TestLeaderPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTable(Config{Units: 2})
		settle := q.lead
		q.lead = func(group []*Request) {
			if group[0].ChangeSet.Unit == "2" {
				panic("2")
			}
			settle(group)
		}
		got := q.outcomes(unit("1", "a"), unit("2", "b"), unit("3", "c"), unit("4", "d"))
		want(t, "groups", fmt.Sprint(q.groups), "[[1] [2 3] [4]]")
		want(t, "outcomes", fmt.Sprint(got), "map[1:<nil> 2:panic 3:in doubt 4:<nil>]")
	})
}

func TestWhoWaitsHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTable(Config{Units: 9})
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = q.Commit(t.Context(), unit("1", "a"), q) })
		synctest.Wait()
		wg.Go(func() {
			if byItself, err := q.Commit(ctx, unit("2", "b"), q); byItself || !errors.Is(err, cause) {
				t.Errorf("got %v, %v, want its context's cause", byItself, err)
			}
		})
		synctest.Wait()
		want(t, "Waiting", q.Waiting(), 1)
		cancel(cause)
		wg.Wait()
		want(t, "groups", fmt.Sprint(q.groups), "[[1]]")
	})
}

// With Linger a leader waits for those of the last group, which come again at once.
func TestLeadersLinger(t *testing.T) {
	for _, linger := range []time.Duration{0, 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			q := newTable(Config{Units: 9, Linger: linger})
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					for round := range 40 {
						_, _ = q.Commit(t.Context(), unit(fmt.Sprint(i), fmt.Sprint(i, round)), q)
						time.Sleep(10 * time.Millisecond)
					}
				})
			}
			wg.Wait()
			full := slices.ContainsFunc(q.groups, func(g string) bool { return len(g) == len("[0 1 2 3]") })
			want(t, "a group of all", full, linger > 0)
		})
	}
}

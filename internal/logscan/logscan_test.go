package logscan_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/internal/logscan"
	"github.com/uow-go/uow/outbox"
)

// ledger is a log whose rows and claims the tests move by hand.
type ledger struct {
	mu     sync.Mutex
	rows   []int64
	claims map[string]bool
	fails  error
	closed bool
	woken  int
	work   sync.WaitGroup
	ctx    context.Context
}

func (l *ledger) scanner() *logscan.Scanner[string] {
	return logscan.New(logscan.Source[string]{
		Read: func(_ context.Context, query outbox.Query) (rows []logscan.Row, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, p := range l.rows {
				if p > query.After {
					wanted := len(query.Topics) == 0 || p%2 == 0
					rows = append(rows, logscan.Row{Position: p, Wanted: wanted, Message: outbox.Message{Position: p}})
				}
			}
			return rows, l.fails
		},
		Claims: func(_ context.Context, asked map[string]bool) (map[string]bool, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			held := map[string]bool{}
			for name := range l.claims {
				if asked == nil || asked[name] {
					held[name] = true
				}
			}
			return held, l.fails
		},
		First: time.Millisecond,
		Background: func(fn func(ctx context.Context)) bool {
			if !l.closed {
				l.work.Go(func() { fn(l.ctx) })
			}
			return !l.closed
		},
		Wake: func() { l.mu.Lock(); l.woken++; l.mu.Unlock() },
	})
}

// set makes the log have rows and claims.
func (l *ledger) set(rows []int64, claims ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows, l.claims = rows, map[string]bool{}
	for _, name := range claims {
		l.claims[name] = true
	}
}

func positions(t *testing.T, s *logscan.Scanner[string], after int64, limit int, topics ...string) string {
	t.Helper()
	messages, next, err := s.Scan(t.Context(), outbox.Query{After: after, Limit: limit, Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	list := []int64{}
	for _, m := range messages {
		list = append(list, m.Position)
	}
	return fmt.Sprint(list, next)
}

func want(t *testing.T, got, want, when string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", when, got, want)
	}
}

func TestNothingIsReadBehindAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &ledger{ctx: ctx}
		s := l.scanner()
		l.set([]int64{1, 2, 4, 5}, "writes 3")
		want(t, positions(t, s, 0, 10), "[1 2] 2", "before the gap")
		want(t, positions(t, s, 2, 10), "[] 2", "a gap that may be filled")

		l.set([]int64{1, 2, 4, 5}, "writes 3", "writes 6") // it came later, and is above
		want(t, positions(t, s, 2, 10), "[] 2", "still")
		l.set([]int64{1, 2, 4, 5}, "writes 6")
		want(t, positions(t, s, 2, 10), "[4 5] 5", "a gap that was given up")

		time.Sleep(time.Second) // the background looks from time to time
		synctest.Wait()
		if l.woken != 1 {
			t.Errorf("%d were woken when the gap had closed, want 1", l.woken)
		}

		l.set([]int64{1, 2, 4, 5, 8}, "writes 6", "writes 7")
		want(t, positions(t, s, 5, 10), "[] 5", "the next gap")
		l.set([]int64{1, 2, 4, 5, 7, 8}, "writes 6")
		want(t, positions(t, s, 5, 10), "[] 5", "one of two has ended")
		time.Sleep(time.Second)
		synctest.Wait()
		if l.woken != 1 {
			t.Error("somebody was woken before the gap has closed")
		}
		l.set([]int64{1, 2, 4, 5, 7, 8})
		time.Sleep(time.Second)
		synctest.Wait()
		if l.woken != 2 {
			t.Errorf("%d were woken when the next gap had closed, want 2", l.woken)
		}
		want(t, positions(t, s, 5, 10), "[7 8] 8", "both have ended")
		cancel()
		l.work.Wait()
	})
}

// What is left behind a gap is announced when it can be read: its transaction may be rolled
// back, which nobody else tells.
func TestWhatIsLeftIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &ledger{ctx: ctx}
		s := l.scanner()
		l.set([]int64{1, 3}, "writes 2")
		want(t, positions(t, s, 0, 10), "[1] 1", "before the gap")
		time.Sleep(time.Second)
		synctest.Wait()
		if l.woken != 0 {
			t.Error("somebody was woken before the gap has closed")
		}
		l.set([]int64{1, 3})
		time.Sleep(time.Second)
		synctest.Wait()
		if l.woken != 1 {
			t.Errorf("%d were woken when the gap had closed, want 1", l.woken)
		}
		want(t, positions(t, s, 1, 10), "[3] 3", "after it")
		cancel()
		l.work.Wait()
	})
}

func TestTopicsAndLimits(t *testing.T) {
	l := &ledger{ctx: t.Context()}
	s := l.scanner()
	l.set([]int64{1, 2, 3, 4, 5})
	want(t, positions(t, s, 0, 0), "[] 0", "a limit of 0")
	want(t, positions(t, s, 0, 3), "[1 2 3] 3", "a limit")
	want(t, positions(t, s, 0, 1, "even"), "[2] 2", "a topic, and a limit")
	want(t, positions(t, s, 2, 9, "even"), "[4] 5", "a topic: what was looked at counts")
	want(t, positions(t, s, 5, 9), "[] 5", "the end")
}

func TestErrorsAndClosedStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("logscan: boom")
		l := &ledger{ctx: t.Context(), closed: true}
		s := l.scanner()
		l.set([]int64{2}, "writes 1")
		want(t, positions(t, s, 0, 9), "[] 0", "a closed store, of which nothing runs in the background")
		l.fails = boom
		if _, next, err := s.Scan(t.Context(), outbox.Query{Limit: 9}); !errors.Is(err, boom) || next != 0 {
			t.Errorf("got %d, %v", next, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		l.fails = nil
		time.AfterFunc(2*time.Millisecond, func() { cancel(boom) })
		if _, _, err := s.Scan(ctx, outbox.Query{Limit: 9}); !errors.Is(err, boom) {
			t.Errorf("a scan whose context ends: got %v", err)
		}
		s.Quiet()
	})
}

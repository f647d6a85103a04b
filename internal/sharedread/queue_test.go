package sharedread

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

// server is a store with rows of every id, whose reads take a second.
type server struct {
	*Queue[string, int]
	mu     sync.Mutex
	work   sync.WaitGroup
	closed bool
	conns  int      // that were acquired
	log    []string // what they did
	fails  error
}

func newServer(limit int) *server {
	s := &server{}
	s.Queue = New(s, limit)
	return s
}

func (s *server) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *server) Acquire(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns++
	return s.conns, nil
}

func (s *server) Read(_ context.Context, conn int, in Snap, group []*Reading[string, int]) error {
	time.Sleep(time.Second)
	if in == Same {
		s.note("%d reads on for %d", conn, len(group))
	} else {
		s.note("%d reads for %d, after another: %v", conn, len(group), in == Next)
	}
	for _, table := range []string{"a", "b"} {
		w := Of(table, group)
		for _, id := range w.IDs {
			_ = w.Give(id, func(rows *[]driver.Row) error { *rows = append(*rows, driver.Row{ID: table + id}); return nil })
		}
	}
	return s.fails
}

func (s *server) End(conn int) { s.note("%d ends", conn) }

func (s *server) Start(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Go(fn)
	return true
}

func (s *server) Limited() (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}

type got struct {
	rows string
	s    *Snapshot[string, int]
	err  error
}

// get reads beside.
func (s *server) get(ctx context.Context, table string, ids ...string) chan got {
	c := make(chan got, 1)
	go func() {
		rows, snapshot, err := s.Get(ctx, table, ids)
		var names []string
		for _, r := range rows {
			names = append(names, r.ID)
		}
		c <- got{fmt.Sprint(names), snapshot, err}
	}()
	synctest.Wait()
	return c
}

func (s *server) said(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.log, want) {
		t.Errorf("the server has done %q, want %q", s.log, want)
	}
}

func TestThoseWhoWaitShareASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(4)
		first, second, third := s.get(t.Context(), "a", "1"), s.get(t.Context(), "a", "1", "2", "1"), s.get(t.Context(), "b", "2")
		one, two, three := <-first, <-second, <-third
		if one.rows != "[a1]" || two.rows != "[a1 a2]" || three.rows != "[b2]" {
			t.Errorf("read %v, %v, %v", one.rows, two.rows, three.rows)
		}
		if one.s == two.s || two.s != three.s {
			t.Error("the second and the third should share a snapshot that the first has not")
		}
		s.said(t, "1 reads for 1, after another: false", "2 reads for 2, after another: false")
		s.Leave(one.s)
		s.Leave(two.s)
		s.said(t, "1 reads for 1, after another: false", "2 reads for 2, after another: false", "1 ends")
		s.Leave(three.s)
		s.said(t, "1 reads for 1, after another: false", "2 reads for 2, after another: false", "1 ends", "2 ends")
		if !s.Idle() || s.Groups() != 2 {
			t.Errorf("idle: %v, groups: %d", s.Idle(), s.Groups())
		}
	})
}

func TestUnusedSnapshotEndsWithTheNextRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(4)
		first, second := s.get(t.Context(), "a", "1"), s.get(t.Context(), "a", "2")
		s.Leave((<-first).s) // while the second is read
		third := s.get(t.Context(), "a", "3")
		s.Leave((<-second).s)
		s.Leave((<-third).s)
		s.said(t, "1 reads for 1, after another: false", "2 reads for 1, after another: false", "1 reads for 1, after another: true",
			"2 ends", "1 ends")
	})
}

func TestNoSnapshotIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1)
		one := <-s.get(t.Context(), "a", "1")
		if two := <-s.get(t.Context(), "a", "1"); two.s != nil || two.err != nil {
			t.Errorf("got %v beyond the limit, want to read alone", two)
		}
		s.Leave(one.s)
		synctest.Wait()
		s.fails = errors.New("refused")
		if three := <-s.get(t.Context(), "a", "1"); three.s != nil || three.err != nil {
			t.Errorf("got %v of a read that failed, want to read alone", three)
		}
		if synctest.Wait(); !s.Idle() {
			t.Error("a snapshot is left")
		}
	})
}

func TestWhoGoesAwayLeavesNoSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(4)
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		first, second := s.get(ctx, "a", "1"), s.get(ctx, "a", "2") // one is being read, one waits
		cancel(cause)
		if one, two := <-first, <-second; !errors.Is(one.err, cause) || !errors.Is(two.err, cause) {
			t.Errorf("got %v and %v", one.err, two.err)
		}
		s.work.Wait()
		s.said(t, "1 reads for 1, after another: false", "1 ends")
		if !s.Idle() {
			t.Error("a snapshot is left")
		}
	})
}

// TestClosed has a unit leave its snapshot when nothing can be started any more, before
// Close, and another use its own after it.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(4)
		one := <-s.get(t.Context(), "a", "1")
		synctest.Wait()
		two := <-s.get(t.Context(), "a", "2")
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.Leave(one.s)
		s.Close()
		if err := two.s.Use(func(int) error { return nil }); !errors.Is(err, ErrEnded) {
			t.Errorf("got %v, want ErrEnded", err)
		}
		s.Leave(two.s)
		if three := <-s.get(t.Context(), "a", "3"); three.s != nil {
			t.Error("a closed queue has read")
		}
		s.mu.Lock()
		slices.Sort(s.log)
		s.mu.Unlock()
		s.said(t, "1 ends", "1 reads for 1, after another: false", "2 ends", "2 reads for 1, after another: false")
	})
}

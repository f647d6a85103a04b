package sharedread

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// getOn reads on, beside.
func getOn(ctx context.Context, s *Snapshot[string, int], table string, ids ...string) chan got {
	c := make(chan got, 1)
	go func() {
		rows, err := s.Get(ctx, table, ids)
		var names []string
		for _, r := range rows {
			names = append(names, r.ID)
		}
		c <- got{rows: fmt.Sprint(names), err: err}
	}()
	synctest.Wait()
	return c
}

func TestThoseWhoShareReadOnTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(4)
		first := s.get(t.Context(), "a", "1")
		second, third := s.get(t.Context(), "a", "1"), s.get(t.Context(), "a", "1")
		snapshot := (<-first).s
		shared := (<-second).s
		if (<-third).s != shared || shared == snapshot {
			t.Fatal("the second and the third should share another snapshot than that of the first")
		}
		one := getOn(t.Context(), shared, "a", "5")
		two, three := getOn(t.Context(), shared, "b", "6"), getOn(t.Context(), shared, "a", "7")
		alone := getOn(t.Context(), snapshot, "b", "8")
		for i, c := range []chan got{one, two, three, alone} {
			want := []string{"[a5]", "[b6]", "[a7]", "[b8]"}[i]
			if got := <-c; got.rows != want || got.err != nil {
				t.Errorf("read %d: got %s and %v, want %s", i, got.rows, got.err, want)
			}
		}
		s.mu.Lock()
		for _, want := range []string{"2 reads on for 1", "2 reads on for 2", "1 reads on for 1"} {
			found := false
			for _, said := range s.log {
				found = found || said == want
			}
			if !found {
				t.Errorf("the server has done %q, and not %q", s.log, want)
			}
		}
		s.mu.Unlock()
		s.Leave(snapshot)
		s.Leave(shared)
		s.Leave(shared)
		s.work.Wait()
		if !s.Idle() {
			t.Error("a snapshot is left")
		}
	})
}

func TestASnapshotOutlivesItsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(4)
		snapshot := (<-s.get(t.Context(), "a", "1")).s
		ctx, cancel := context.WithCancel(t.Context())
		read := getOn(ctx, snapshot, "a", "2")
		cancel()
		if got := <-read; !errors.Is(got.err, context.Canceled) {
			t.Errorf("got %v, want that it was cancelled", got.err)
		}
		s.Leave(snapshot) // while the read is under way
		s.said(t, "1 reads for 1, after another: false")
		if s.Idle() {
			t.Error("the snapshot has ended before its read")
		}
		time.Sleep(2 * time.Second)
		s.said(t, "1 reads for 1, after another: false", "1 reads on for 1", "1 ends")
		if !s.Idle() {
			t.Error("a snapshot is left")
		}
	})
}

func TestReadingOnAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(4)
		snapshot := (<-s.get(t.Context(), "a", "1")).s
		s.fails = errors.New("the connection is gone")
		if got := <-getOn(t.Context(), snapshot, "a", "2"); !errors.Is(got.err, s.fails) {
			t.Errorf("got %v, want what the server says", got.err)
		}
		s.Close()
		if got := <-getOn(t.Context(), snapshot, "a", "2"); !errors.Is(got.err, ErrEnded) {
			t.Errorf("got %v, want ErrEnded", got.err)
		}
		s.work.Wait()
	})
}

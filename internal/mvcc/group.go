package mvcc

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/uow-go/uow/driver"
)

// maxGroup bounds how many changes share a write of the journal.
const maxGroup = 512

// patience is how long, and patienceRounds how often, a leader lets other
// goroutines run without anybody coming.
const (
	patience       = 20 * time.Microsecond
	patienceRounds = 16
)

// signal tells one who waits how the waiting ended.
type signal uint8

const (
	settled signal = iota // request.err is the outcome
	leader                // it is your turn
)

// group is who waits for the journal. One of them leads: it has all of them
// written at once, in its own goroutine.
type group struct {
	mu    sync.Mutex
	busy  bool
	queue []*request

	// The rest belongs to the leader.
	expected int // how many may be about to come
	requests []*request
	changes  []*Change
}

// change decides a request and makes it durable, together with those that wait
// with it.
func (s *Store) change(r *request) error {
	if s.options.Journal == nil {
		s.runAlone(r)
		return r.err
	}
	g := &s.group
	g.mu.Lock()
	if g.busy {
		r.wake = make(chan signal, 1)
		g.queue = append(g.queue, r)
		g.mu.Unlock()
		if <-r.wake == settled {
			return r.err
		}
	} else {
		g.busy = true
		g.mu.Unlock()
	}
	g.await()
	requests := g.gather(r)
	s.runTogether(requests)
	g.leave(requests)
	return r.err
}

// await lets others run until as many wait as may come, or none comes any more.
// One who is alone never waits.
func (g *group) await() {
	seen, since, rounds := 0, time.Now(), 0
	for g.expected > 1 && (rounds < patienceRounds || time.Since(since) < patience) {
		g.mu.Lock()
		n := len(g.queue)
		g.mu.Unlock()
		if n+1 >= g.expected {
			return
		}
		if n > seen {
			seen, since, rounds = n, time.Now(), 0
		}
		rounds++
		runtime.Gosched()
	}
}

// gather takes who waits, up to the second that changes the log: what it changes
// is seen by others only when it is durable.
func (g *group) gather(r *request) []*request {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = append(g.requests[:0], r)
	log, n := r.log != nil, 0
	for n < len(g.queue) && n < maxGroup-1 && !(log && g.queue[n].log != nil) {
		log = log || g.queue[n].log != nil
		n++
	}
	g.requests = append(g.requests, g.queue[:n]...)
	rest := copy(g.queue, g.queue[n:])
	clear(g.queue[rest:])
	g.queue = g.queue[:rest]
	return g.requests
}

// leave tells those who waited, and makes the next one the leader.
func (g *group) leave(requests []*request) {
	for i, r := range requests[1:] {
		requests[i+1] = nil
		r.wake <- settled
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expected = len(requests) + len(g.queue)
	if len(g.queue) == 0 {
		g.busy = false
		return
	}
	next := g.queue[0]
	rest := copy(g.queue, g.queue[1:])
	g.queue[rest] = nil
	g.queue = g.queue[:rest]
	next.wake <- leader
}

// runAlone makes a change of a store without a journal.
func (s *Store) runAlone(r *request) {
	s.mu.Lock()
	r.err = r.prepare(s)
	s.settle([]*request{r}, nil)
	s.mu.Unlock()
	s.tell([]*request{r})
}

// runTogether gives each request its outcome. A request that fails by itself fails
// alone. When the journal fails all do, since what some failed for is void too; or in
// doubt, which only those are that were written.
func (s *Store) runTogether(requests []*request) {
	g := &s.group
	g.changes = g.changes[:0]
	s.mu.Lock()
	for _, r := range requests {
		if r.err = r.prepare(s); r.err == nil && !r.change.empty() {
			g.changes = append(g.changes, &r.change)
		}
	}
	var err error
	if len(g.changes) > 0 {
		s.mu.Unlock()
		err = s.options.Journal.Write(g.changes)
		s.mu.Lock()
	}
	s.settle(requests, err)
	s.mu.Unlock()
	clear(g.changes)
	s.tell(requests)
}

// settle ends what was prepared: it becomes visible, or is taken back where the
// journal failed. The store is locked.
func (s *Store) settle(requests []*request, failed error) {
	if failed != nil {
		s.takeBack(requests, failed)
		return
	}
	s.visible = s.commits
	for _, r := range requests {
		if r.err == nil {
			r.finish(s)
		}
	}
	s.collect()
}

func (s *Store) takeBack(requests []*request, failed error) {
	for i := len(requests) - 1; i >= 0; i-- {
		if r := requests[i]; r.err == nil {
			r.undo(s)
		}
	}
	for len(s.garbage) > 0 && s.garbage[len(s.garbage)-1].commit > s.visible {
		s.garbage = s.garbage[:len(s.garbage)-1]
	}
	s.position, s.delays = s.log.End, s.log.Delays
	for _, r := range requests {
		switch {
		case r.closing:
			r.finish(s)
		case r.err == nil || !errors.Is(failed, driver.ErrInDoubt):
			r.err = fmt.Errorf("%s: commit: %w", s.options.Name, failed)
		}
	}
}

// tell wakes who waits for messages.
func (s *Store) tell(requests []*request) {
	for _, r := range requests {
		if r.err == nil && len(r.change.Messages)+len(r.change.Delayed) > 0 {
			s.subscribers.Wake(true)
			return
		}
	}
}

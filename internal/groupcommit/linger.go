package groupcommit

import "time"

// linger is what a Queue knows of its last group, to decide whether to wait for it to
// come again. The Queue's mu guards it.
type linger struct {
	last    int // how many units it had
	endedAt time.Time
	took    time.Duration
	// full is closed when as many wait as are wanted; 0 wants none.
	wanted  int
	full    chan struct{}
	hurried int // for how many groups nobody waits
}

// hurriedFor is for how many groups nobody waits after one that did not come again.
const hurriedFor = 10

func (l *linger) ended(units int, took time.Duration) {
	l.last, l.endedAt, l.took = units, time.Now(), took
}

// came tells that so many wait now.
func (l *linger) came(waiting int) {
	if l.wanted > 0 && waiting >= l.wanted {
		close(l.full)
		l.wanted = 0
	}
}

// comeAgain waits for those of the last group to come again, for a part of the time that
// a commit takes: they would otherwise wait for the whole of it, and then as many others
// for theirs. Where they do not come, the next groups go at once.
func (q *Queue[C]) comeAgain() {
	if q.Linger == 0 {
		return
	}
	q.mu.Lock()
	l := &q.linger
	limit := min(l.took/2, q.Linger)
	if l.hurried--; l.hurried > 0 || l.last == 0 || time.Since(l.endedAt) > l.took {
		q.mu.Unlock()
		return
	}
	before := len(q.waiting)
	l.wanted, l.full = min(before+l.last, q.Units)-1, make(chan struct{})
	full := l.full
	if before >= l.wanted {
		close(full)
		l.wanted = 0
	}
	q.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-full:
	case <-timer.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l.wanted = 0
	if 2*(len(q.waiting)-before) < l.last-1 {
		l.hurried = hurriedFor
	}
}

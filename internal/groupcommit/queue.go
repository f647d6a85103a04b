package groupcommit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/unitcontext"
)

// Queue has the units that commit in groups, of which one is under way at a time. The
// committing goroutines lead: who finds none under way leads at once, and those who come
// meanwhile are the next group, which one of them leads. C is a connection, which
// leaders hand on.
type Queue[C any] struct {
	Config

	mu      sync.Mutex
	led     bool
	waiting []*Request
	groups  int
	claims  Claims
	linger  linger
	// left is what the last group has left, and until when that counts.
	left      Leavings
	leftUntil time.Time

	conn C // the leader's, from the one before
}

// Config says how a Queue groups. It is not changed any more once units commit.
type Config struct {
	// Units, Rows and Bytes bound a group, and so for how long its first waits for its
	// last.
	Units, Rows, Bytes int
	// Disposable reports whether a collection is.
	Disposable func(collection string) bool
	// Linger is for how long a leader waits at most for those of the last group to come
	// again. Default: 0, it does not.
	Linger time.Duration
	// Remember is for how long what a group has left is held against those who come
	// later. Default: 0, only against those who wait by then.
	Remember time.Duration
}

// Leader is a unit that commits, maybe for others too.
type Leader[C any] interface {
	// Yield gives up what the unit has: it is going to wait.
	Yield()
	// Lead gives each request of a group an outcome: Settle or LeaveAlone. conn is the
	// connection of the leader before; it is zero where there is none.
	Lead(ctx context.Context, conn C, group []*Request)
	// Leave ends the leadership, and returns the connection for the next leader, or
	// zero, when there is one.
	Leave(next bool) C
}

// Request is a unit that waits to be committed with others.
type Request struct {
	ChangeSet *driver.ChangeSet

	wake chan fate // has room for one
	// ready says that the unit has nothing else to do, and can lead at once.
	ready bool
	fate  fate
	err   error
}

// fate is what becomes of a request.
type fate uint8

const (
	open    fate = iota
	settled      // err is the outcome
	alone        // nothing happened: the unit must commit by itself
	leads        // the unit leads the next group
	withdrawn
)

// Settle gives the unit its outcome.
func (r *Request) Settle(err error) { r.fate, r.err = settled, err }

// LeaveAlone says that nothing happened, and that the unit is to commit by itself.
func (r *Request) LeaveAlone() { r.fate = alone }

// Open reports whether the request has no outcome yet.
func (r *Request) Open() bool { return r.fate == open }

// Settled reports whether the unit has its outcome.
func (r *Request) Settled() bool { return r.fate == settled }

// Size returns how many rows a change set has, and how many bytes of it are not small.
func Size(cs *driver.ChangeSet) (rows, bytes int) {
	for i := range cs.Writes {
		bytes += len(cs.Writes[i].Body)
	}
	for i := range cs.Messages {
		bytes += len(cs.Messages[i].Payload)
	}
	return len(cs.Writes) + len(cs.Checks) + len(cs.Messages), bytes
}

// Groups returns how many groups there were, and Waiting how many units wait, with
// nothing else to do.
func (q *Queue[C]) Groups() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.groups
}

// Waiting returns how many units wait and can lead.
func (q *Queue[C]) Waiting() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.waiting {
		if r.ready {
			n++
		}
	}
	return n
}

// Commit commits a unit in a group. byItself says that nothing happened, and that the
// unit must commit by itself. A unit whose context ends while nothing was begun for it
// goes away, with the context's cause.
func (q *Queue[C]) Commit(ctx context.Context, cs *driver.ChangeSet, unit Leader[C]) (byItself bool, err error) {
	r := &Request{ChangeSet: cs, wake: make(chan fate, 1)}
	f := leads
	if !q.join(r) {
		unit.Yield()
		f = q.wait(ctx, r)
	}
	switch f {
	case withdrawn:
		return false, context.Cause(ctx)
	case leads:
		q.lead(ctx, r, unit)
		f = r.fate
	}
	if f != alone {
		return false, r.err
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return true, nil
}

// join reports whether the unit leads. Otherwise it waits, or has lost already.
func (q *Queue[C]) join(r *Request) (leads bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.Remember > 0 && len(q.left) > 0 && time.Now().Before(q.leftUntil) && q.overtaken(r) {
		return false
	}
	if !q.led {
		q.led = true
		return true
	}
	q.waiting = append(q.waiting, r)
	q.linger.came(len(q.waiting))
	return false
}

// wait returns what becomes of a request that has joined.
func (q *Queue[C]) wait(ctx context.Context, r *Request) fate {
	q.mu.Lock()
	r.ready = true
	q.mu.Unlock()
	select {
	case f := <-r.wake:
		return f
	case <-unitcontext.Waiting(ctx).Done():
	}
	q.mu.Lock()
	i := slices.Index(q.waiting, r)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	q.mu.Unlock()
	if i >= 0 {
		return withdrawn
	}
	return <-r.wake
}

// lead commits a group, and hands the leadership and the connection on.
func (q *Queue[C]) lead(ctx context.Context, first *Request, unit Leader[C]) {
	q.comeAgain()
	group, clashed := q.gather(first)
	var none C
	conn, began := q.conn, time.Now()
	q.conn = none
	defer func() { // also when it panics: the others must not wait for ever
		for _, r := range group {
			if r.Open() {
				r.Settle(fmt.Errorf("groupcommit: %w: the unit that has committed the group did not return", driver.ErrInDoubt))
			}
		}
		next := q.next(group, clashed, time.Since(began))
		handed := unit.Leave(next != nil)
		for _, r := range group[1:] {
			r.wake <- r.fate
		}
		if next != nil {
			q.conn = handed
			next.wake <- leads
		}
	}()
	unit.Lead(ctx, conn, group)
}

// gather takes those who wait and want no row that others of the group want. clashed
// says that there were some who did.
func (q *Queue[C]) gather(first *Request) (group []*Request, clashed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	group = append(make([]*Request, 0, 1+len(q.waiting)), first)
	if len(q.waiting) == 0 {
		return group, false
	}
	if q.claims == nil {
		q.claims = Claims{}
	}
	clear(q.claims)
	q.claims.Add(first.ChangeSet)
	rows, bytes := Size(first.ChangeSet)
	rest := q.waiting[:0]
	for i, r := range q.waiting {
		n, size := Size(r.ChangeSet)
		rows, bytes = rows+n, bytes+size
		if len(group) == q.Units || rows > q.Rows || bytes > q.Bytes {
			rest = append(rest, q.waiting[i:]...)
			break
		}
		if q.claims.Add(r.ChangeSet) {
			group = append(group, r)
		} else {
			clashed = true
			rest = append(rest, r)
		}
	}
	clear(q.waiting[len(rest):])
	q.waiting = rest
	return group, clashed
}

// next returns who leads after a group, or nil when nobody waits.
func (q *Queue[C]) next(group []*Request, clashed bool, took time.Duration) *Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.groups++
	q.linger.ended(len(group), took)
	if clashed || q.Remember > 0 {
		q.left, q.leftUntil = Leavings{}, time.Now().Add(q.Remember)
		for _, r := range group {
			if r.Settled() && r.err == nil {
				q.left.Add(r.ChangeSet, q.Disposable)
			}
		}
	}
	if clashed {
		q.waiting = slices.DeleteFunc(q.waiting, q.overtaken)
	}
	if len(q.waiting) == 0 {
		q.led = false
		return nil
	}
	i := max(0, slices.IndexFunc(q.waiting, func(r *Request) bool { return r.ready }))
	r := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return r
}

// overtaken settles a request that has lost to the last group.
func (q *Queue[C]) overtaken(r *Request) bool {
	err := q.left.MissedBy(r.ChangeSet)
	if err == nil {
		return false
	}
	r.Settle(err)
	r.wake <- settled
	return true
}

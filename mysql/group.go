package mysql

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
)

// crowd counts the reads and commits that are under way. Up to a limit each goes by
// itself; in a crowd they go together.
type crowd struct {
	n     atomic.Int32
	limit int32
}

// crowdFrom is how many operations at once are a crowd: below it, waiting for others
// costs more than it saves.
const crowdFrom = 3

func (c *crowd) enter() (crowded bool) { return c.n.Add(1) > c.limit }

func (c *crowd) leave() { c.n.Add(-1) }

// The bounds of a group, and so of how long the first of it waits for the last.
const (
	maxGroup      = 128
	maxGroupRows  = 1024
	maxGroupBytes = 1 << 20
	// Units that are larger go by themselves.
	maxUnitRows  = 32
	maxUnitBytes = 32 << 10
)

// fate is what a request is woken with.
type fate uint8

const (
	settled fate = iota // err is the outcome
	alone               // nothing happened: the unit must commit by itself
	lead                // the unit leads the next group
	withdrawn
)

// request is a unit that waits to be committed with others.
type request struct {
	cs   *driver.ChangeSet
	wake chan fate // has room for one
	// ready says that the unit has nothing else to do, and can lead at once.
	ready bool
	// conn is the connection of the leader before.
	conn *session
	fate fate
	err  error
}

func (r *request) settle(err error) { r.fate, r.err = settled, err }

// size is how many rows a unit has, and bytes how much of it is not small.
func (r *request) size() (rows, bytes int) {
	rows = len(r.cs.Writes) + len(r.cs.Checks) + len(r.cs.Messages)
	for i := range r.cs.Writes {
		bytes += len(r.cs.Writes[i].Body)
	}
	for i := range r.cs.Messages {
		bytes += len(r.cs.Messages[i].Payload)
	}
	return rows, bytes
}

// commits are the units that commit in groups, of which one is under way at a time.
// The committing goroutines lead: who finds none under way leads at once, and those
// who come meanwhile are the next group, which one of them leads.
type commits struct {
	mu      sync.Mutex
	led     bool
	waiting []*request
	groups  int // how many there were
	// last is how many units the last group had, which ended then, and took so long. A
	// leader waits for them to come again: full is closed when so many wait as are
	// wanted. hurried is how many groups do not.
	last       int
	ended      time.Time
	took       time.Duration
	wanted     int
	full       chan struct{}
	hurried    int
	disposable func(collection string) bool
	// left is what the last group has left, and until when that counts: the user may
	// turn back versions by hand.
	left      groupcommit.Leavings
	leftUntil time.Time
	// apart is until when units go by themselves: somebody holds locks that groups
	// have waited for, which must not hold up all others.
	apart time.Time
}

// leftFor is for how long what a group has left is remembered.
const leftFor = time.Second

// join reports whether the unit leads. Otherwise it waits, or has lost already.
func (q *commits) join(r *request) (leads bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.left) > 0 && time.Now().Before(q.leftUntil) {
		if err := q.left.MissedBy(r.cs); err != nil {
			r.settle(err)
			r.wake <- settled
			return false
		}
	}
	if !q.led {
		q.led = true
		return true
	}
	q.waiting = append(q.waiting, r)
	if q.wanted > 0 && len(q.waiting) >= q.wanted {
		close(q.full)
		q.wanted = 0
	}
	return false
}

// linger waits for those of the last group to come again, for a part of the time that a
// commit takes: they would otherwise wait for the whole of it, and then as many others
// for theirs. Where they do not come, the next groups go at once.
func (q *commits) linger() {
	q.mu.Lock()
	limit := min(q.took/2, maxLinger)
	if q.hurried--; q.hurried > 0 || q.last == 0 || time.Since(q.ended) > q.took {
		q.mu.Unlock()
		return
	}
	before := len(q.waiting)
	q.wanted, q.full = min(before+q.last, maxGroup)-1, make(chan struct{})
	if before >= q.wanted {
		close(q.full)
		q.wanted = 0
	}
	full := q.full
	q.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-full:
	case <-timer.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wanted = 0
	if 2*(len(q.waiting)-before) < q.last-1 {
		q.hurried = hurriedFor
	}
}

const (
	maxLinger  = 5 * time.Millisecond
	hurriedFor = 10 // groups
)

// wait returns what becomes of a request that has joined. A unit whose context ends
// while nothing was begun for it goes away.
func (q *commits) wait(ctx context.Context, r *request) fate {
	q.mu.Lock()
	r.ready = true
	q.mu.Unlock()
	select {
	case v := <-r.wake:
		return v
	case <-ctx.Done():
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

// gather takes those who wait and want no row that others of the group want. clashed
// says that there were some who did.
func (q *commits) gather(first *request) (group []*request, clashed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	group = append(make([]*request, 0, 1+len(q.waiting)), first)
	if len(q.waiting) == 0 {
		return group, false
	}
	claims := groupcommit.Claims{}
	claims.Add(first.cs)
	rows, bytes := first.size()
	rest := q.waiting[:0]
	for i, r := range q.waiting {
		n, size := r.size()
		rows, bytes = rows+n, bytes+size
		switch {
		case len(group) == maxGroup || rows > maxGroupRows || bytes > maxGroupBytes:
			rest = append(rest, q.waiting[i:]...)
			clear(q.waiting[len(rest):])
			q.waiting = rest
			return group, clashed
		case !claims.Add(r.cs):
			clashed = true
			rest = append(rest, r)
		default:
			group = append(group, r)
		}
	}
	clear(q.waiting[len(rest):])
	q.waiting = rest
	return group, clashed
}

// next returns who leads after a group, or nil when nobody waits.
func (q *commits) next(group []*request, clashed bool, took time.Duration) *request {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last, q.ended, q.took = len(group), time.Now(), took
	q.groups++
	q.left, q.leftUntil = groupcommit.Leavings{}, time.Now().Add(leftFor)
	for _, r := range group {
		if r.fate == settled && r.err == nil {
			q.left.Add(r.cs, q.disposable)
		}
	}
	if clashed {
		q.waiting = slices.DeleteFunc(q.waiting, q.overtaken)
	}
	if len(q.waiting) == 0 {
		q.led = false
		return nil
	}
	i := max(0, slices.IndexFunc(q.waiting, func(r *request) bool { return r.ready }))
	r := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return r
}

// overtaken settles a request that has lost to the last group.
func (q *commits) overtaken(r *request) bool {
	err := q.left.MissedBy(r.cs)
	if err == nil {
		return false
	}
	r.settle(err)
	r.wake <- settled
	return true
}

// holdApart lets units go by themselves for a while.
func (q *commits) holdApart() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.apart = time.Now().Add(apartFor)
}

const apartFor = 5 * time.Second

func (q *commits) areApart() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.apart.IsZero() && time.Now().Before(q.apart)
}

// commitTogether commits the unit in a group.
func (t *tx) commitTogether(ctx context.Context, cs *driver.ChangeSet) error {
	if _, err := t.store.plan(cs); err != nil {
		return err
	}
	q := &t.store.commits
	r := &request{cs: cs, wake: make(chan fate, 1)}
	v := lead
	if !q.join(r) {
		t.abort() // the snapshot is of no use any more, and others need the connection
		t.release()
		v = q.wait(ctx, r)
	}
	switch v {
	case withdrawn:
		return context.Cause(ctx)
	case lead:
		t.lead(ctx, r)
		v = r.fate
	}
	if v != alone {
		return r.err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return t.commitAlone(ctx, cs)
}

// lead commits a group, and hands the leadership and the connection on.
func (t *tx) lead(ctx context.Context, r *request) {
	q := &t.store.commits
	q.linger()
	group, clashed := q.gather(r)
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.store.options.CommitTimeout)
	defer cancel()
	if err := t.inherit(ctx, r); err != nil {
		for _, r := range group {
			r.settle(err)
		}
	} else {
		t.runTogether(ctx, group)
	}
	next := q.next(group, clashed, time.Since(began))
	if next != nil {
		next.conn = t.bequeath()
	} else {
		t.abort() // before those who go by themselves want the rows
	}
	for _, r := range group[1:] {
		r.wake <- r.fate
	}
	if next != nil {
		next.wake <- lead
	}
}

// inherit gives the transaction the connection of the leader before, or one of its
// own.
func (t *tx) inherit(ctx context.Context, r *request) error {
	if r.conn == nil {
		return t.connect(ctx)
	}
	t.abort()
	t.release()
	if !r.conn.alive() {
		r.conn.release()
		return t.connect(ctx)
	}
	return t.use(r.conn)
}

// bequeath takes the connection away from the transaction, for the next leader.
func (t *tx) bequeath() *session {
	if t.conn == nil {
		return nil
	}
	t.abort()
	t.store.forget(t)
	c := t.conn
	t.conn, t.begun = nil, false
	return c
}

// shareable reports whether the unit can be committed with others.
func (t *tx) shareable(cs *driver.ChangeSet) bool {
	r := request{cs: cs}
	rows, bytes := r.size()
	return t.optimistic() && !t.serializable && len(cs.Releases)+len(cs.Ranges) == 0 &&
		rows <= maxUnitRows && bytes <= min(maxUnitBytes, t.store.maxPacket/4) && t.store.mixes(cs) && !t.store.commits.areApart()
}

// mixes reports whether the order of the writes does not count beyond that of the
// collections, in which a group writes, nor who else refers to the rows.
func (s *Store) mixes(cs *driver.ChangeSet) bool {
	last := -1
	for i := range cs.Writes {
		t := s.tables[cs.Writes[i].Collection]
		if t == nil || t.desc.Table != nil || t.desc.SelfReferring || t.place < last {
			return false
		}
		if t.place == last && cs.Writes[i].Op == driver.Delete && cs.Writes[i-1].Op != driver.Delete {
			return false
		}
		last = t.place
	}
	return !slices.ContainsFunc(cs.Checks, func(c driver.Check) bool {
		t := s.tables[c.Collection]
		return t == nil || t.desc.Table != nil || c.Version == 0
	})
}

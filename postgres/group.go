package postgres

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
	"github.com/uow-go/uow/internal/unitcontext"
)

// crowd counts the reads and commits that are under way. Up to a limit each goes by
// itself; in a crowd they go together.
type crowd struct {
	n     atomic.Int32
	limit int32
}

// crowdFrom is how many operations at once are a crowd: below it, sharing trips costs
// more than it saves.
const crowdFrom = 12

func (c *crowd) enter() (crowded bool) { return c.n.Add(1) > c.limit }

func (c *crowd) leave() { c.n.Add(-1) }

// The bounds of a group, and so of how long the first of it waits for the last.
const (
	maxGroup      = 256
	maxGroupRows  = 2048
	maxGroupBytes = 4 << 20
	// Units that are larger go by themselves.
	maxUnitRows  = 64
	maxUnitBytes = 64 << 10
	// maxLeaders is how many groups are under way at once.
	maxLeaders = 1
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
	conn *pgxpool.Conn
	fate fate
	err  error
}

// overtaken settles a request that has lost to the last group.
func (r *request) overtaken(left groupcommit.Leavings) bool {
	err := left.MissedBy(r.cs)
	if err == nil {
		return false
	}
	r.fail(err)
	r.wake <- settled
	return true
}

// size is how many rows a unit has.
func size(cs *driver.ChangeSet) int { return len(cs.Writes) + len(cs.Checks) + len(cs.Messages) }

// bytesOf is how much of a unit is not small.
func bytesOf(cs *driver.ChangeSet) (n int) {
	for i := range cs.Writes {
		n += len(cs.Writes[i].Body)
	}
	for i := range cs.Messages {
		n += len(cs.Messages[i].Payload)
	}
	return n
}

func (r *request) fail(err error) { r.fate, r.err = settled, err }

// commits are the units that commit in groups. The committing goroutines lead: one
// that finds fewer than maxLeaders at work leads at once, and those who come
// meanwhile are the next group, which one of them leads.
type commits struct {
	mu         sync.Mutex
	leaders    int
	waiting    []*request
	groups     int        // how many there were
	mem        groupArena // the leader's
	disposable func(collection string) bool
	claims     groupcommit.Claims // with mu
}

// join reports whether the unit leads. Otherwise it waits.
func (q *commits) join(r *request) (leads bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.leaders < maxLeaders && len(q.waiting) == 0 {
		q.leaders++
		return true
	}
	q.waiting = append(q.waiting, r)
	return false
}

// wait returns what becomes of a request that has joined. A unit whose context ends
// while nothing was begun for it goes away.
func (q *commits) wait(ctx context.Context, r *request) fate {
	q.mu.Lock()
	r.ready = true
	q.mu.Unlock()
	select {
	case v := <-r.wake:
		return v
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

// gather takes those who wait and want no row that others of the group want. clashed
// says that there were some who did.
func (q *commits) gather(first *request) (group []*request, clashed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	group = append(make([]*request, 0, 1+len(q.waiting)), first)
	if len(q.waiting) == 0 {
		return group, false
	}
	if q.claims == nil {
		q.claims = groupcommit.Claims{}
	}
	clear(q.claims)
	rows, bytes := size(first.cs), bytesOf(first.cs)
	q.claims.Add(first.cs)
	rest := q.waiting[:0]
	for i, r := range q.waiting {
		rows, bytes = rows+size(r.cs), bytes+bytesOf(r.cs)
		switch {
		case len(group) == maxGroup || rows > maxGroupRows || bytes > maxGroupBytes:
			rest = append(rest, q.waiting[i:]...)
			clear(q.waiting[len(rest):])
			q.waiting = rest
			return group, clashed
		case !q.claims.Add(r.cs):
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
func (q *commits) next(group []*request, clashed bool) *request {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.groups++
	if clashed {
		left := groupcommit.Leavings{}
		for _, r := range group {
			if r.fate == settled && r.err == nil {
				left.Add(r.cs, q.disposable)
			}
		}
		q.waiting = slices.DeleteFunc(q.waiting, func(r *request) bool { return r.overtaken(left) })
	}
	if len(q.waiting) == 0 {
		q.leaders--
		return nil
	}
	i := max(0, slices.IndexFunc(q.waiting, func(r *request) bool { return r.ready }))
	r := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return r
}

// commitTogether commits the unit in a group.
func (t *tx) commitTogether(ctx context.Context, cs *driver.ChangeSet) error {
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
	group, clashed := q.gather(r)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.store.options.CommitTimeout)
	defer cancel()
	if err := t.inherit(ctx, r); err != nil {
		for _, r := range group {
			r.fail(err)
		}
	} else {
		t.runTogether(group, 2)
	}
	next := q.next(group, clashed)
	if next != nil {
		next.conn = t.bequeath()
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
		return t.connectAlive(ctx)
	}
	t.abort()
	t.release()
	if r.conn.Conn().IsClosed() {
		r.conn.Release()
		return t.connectAlive(ctx)
	}
	return t.own(r.conn)
}

// bequeath takes the connection away from the transaction, for the next leader.
func (t *tx) bequeath() *pgxpool.Conn {
	c := t.conn
	if c == nil {
		return nil
	}
	t.abort()
	t.store.forget(t)
	t.conn, t.begun = nil, false
	return c
}

// runTogether gives each request of a group its outcome. After an error of the server
// nothing happened, and smaller groups are tried; those that are left must go alone.
func (t *tx) runTogether(group []*request, tries int) {
	if tries == 0 {
		for _, r := range group {
			r.fate = alone
		}
		return
	}
	g, err := t.store.groupPlan(group)
	if err == nil {
		if t.conn.Conn().IsClosed() {
			err = errLost
		} else {
			steps := g.steps
			if t.begun {
				steps = append([]step{plain(t.store.sql.commit)}, steps...)
			}
			_, err = t.runFor(t.store.options.CommitTimeout, steps)
			if err != nil && !answered(err) {
				g.inDoubt(err)
				return
			}
		}
	}
	if err == nil {
		g.settle()
		return
	}
	switch code(err) {
	case codeLockNotAvailable, codeDeadlock, "":
		tries = 1 // as likely in a smaller group
	}
	if len(group) == 1 {
		tries = 1
	}
	half := len(group) / 2
	t.runTogether(group[:half], tries-1)
	t.runTogether(group[half:], tries-1)
}

// shareable reports whether the unit can be committed with others.
func (t *tx) shareable(cs *driver.ChangeSet) bool {
	for i := range cs.Writes {
		if t.store.tables[cs.Writes[i].Collection].apart() {
			return false
		}
	}
	for i := range cs.Checks {
		if t.store.tables[cs.Checks[i].Collection].apart() {
			return false
		}
	}
	if _, delayed := driver.Apart(cs.Messages); len(delayed) > 0 {
		return false
	}
	return t.isolation() == ReadCommitted && !t.flushed && !t.native && len(cs.Releases) == 0 && inPlace(cs, t.store) &&
		size(cs) <= maxUnitRows && bytesOf(cs) <= maxUnitBytes
}

// apart reports whether units that write to a collection do not commit with others.
func (t *table) apart() bool { return t == nil || t.mapped != nil || t.desc.SelfReferring }

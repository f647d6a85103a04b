package mysql

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
)

// crowdFrom is how many operations at once are a crowd: below it, waiting for others
// costs more than it saves.
const crowdFrom = 3

// The bounds of a group, and so of how long the first of it waits for the last.
const (
	maxGroup      = 128
	maxGroupRows  = 1024
	maxGroupBytes = 1 << 20
	// Units that are larger go by themselves.
	maxUnitRows  = 32
	maxUnitBytes = 32 << 10
)

// How long a leader waits for the last group to come again, and for how long what a group
// has left is remembered: the user may turn back versions by hand.
const (
	maxLinger = 5 * time.Millisecond
	leftFor   = time.Second
)

func (s *Store) newCommits() groupcommit.Config {
	return groupcommit.Config{
		Units: maxGroup, Rows: maxGroupRows, Bytes: maxGroupBytes, Linger: maxLinger, Remember: leftFor,
		Disposable: func(collection string) bool { return s.tables[collection].desc.Disposable },
	}
}

// apart is until when units go by themselves: somebody holds locks that groups have
// waited for, which must not hold up all others.
type apart struct {
	mu    sync.Mutex
	until time.Time
}

const apartFor = 5 * time.Second

func (a *apart) hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until = time.Now().Add(apartFor)
}

func (a *apart) held() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.until.IsZero() && time.Now().Before(a.until)
}

// commitTogether commits the unit in a group.
func (t *tx) commitTogether(ctx context.Context, cs *driver.ChangeSet) error {
	if _, err := t.store.plan(cs); err != nil {
		return err
	}
	byItself, err := t.store.commits.Commit(ctx, cs, leader{t})
	if !byItself {
		return err
	}
	return t.commitAlone(ctx, cs)
}

// leader is a unit that may commit a group.
type leader struct{ *tx }

// Yield implements groupcommit.Leader: the snapshot is of no use any more, and others
// need the connection.
func (t leader) Yield() {
	t.abort()
	t.release()
}

// Lead implements groupcommit.Leader.
func (t leader) Lead(ctx context.Context, conn *session, group []*groupcommit.Request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.store.options.CommitTimeout)
	defer cancel()
	if err := t.inherit(ctx, conn); err != nil {
		for _, r := range group {
			r.Settle(err)
		}
		return
	}
	t.runTogether(ctx, group)
}

// Leave implements groupcommit.Leader.
func (t leader) Leave(next bool) *session {
	if next {
		return t.bequeath()
	}
	t.abort() // before those who go by themselves want the rows
	return nil
}

// inherit gives the transaction the connection of the leader before, or one of its
// own.
func (t *tx) inherit(ctx context.Context, conn *session) error {
	if conn == nil {
		return t.connect(ctx)
	}
	t.abort()
	t.release()
	if !conn.alive() {
		conn.release()
		return t.connect(ctx)
	}
	return t.use(conn)
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
	rows, bytes := groupcommit.Size(cs)
	return t.optimistic() && !t.serializable && len(cs.Releases)+len(cs.Ranges) == 0 &&
		rows <= maxUnitRows && bytes <= min(maxUnitBytes, t.store.maxPacket/4) && t.store.mixes(cs) && !t.store.apart.held()
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

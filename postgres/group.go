package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit"
)

// crowdFrom is how many operations at once are a crowd: below it, sharing trips costs
// more than it saves.
const crowdFrom = 12

// The bounds of a group, and so of how long the first of it waits for the last.
const (
	maxGroup      = 256
	maxGroupRows  = 2048
	maxGroupBytes = 4 << 20
	// Units that are larger go by themselves.
	maxUnitRows  = 64
	maxUnitBytes = 64 << 10
)

func (s *Store) newCommits() groupcommit.Config {
	return groupcommit.Config{
		Units: maxGroup, Rows: maxGroupRows, Bytes: maxGroupBytes,
		Disposable: func(collection string) bool { return s.tables[collection].desc.Disposable },
	}
}

// commitTogether commits the unit in a group.
func (t *tx) commitTogether(ctx context.Context, cs *driver.ChangeSet) error {
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
func (t leader) Lead(ctx context.Context, conn *pgxpool.Conn, group []*groupcommit.Request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.store.options.CommitTimeout)
	defer cancel()
	if err := t.inherit(ctx, conn); err != nil {
		for _, r := range group {
			r.Settle(err)
		}
		return
	}
	t.runTogether(group, 2)
}

// Leave implements groupcommit.Leader.
func (t leader) Leave(next bool) *pgxpool.Conn {
	if next {
		return t.bequeath()
	}
	return nil
}

// inherit gives the transaction the connection of the leader before, or one of its
// own.
func (t *tx) inherit(ctx context.Context, conn *pgxpool.Conn) error {
	if conn == nil {
		return t.connectAlive(ctx)
	}
	t.abort()
	t.release()
	if conn.Conn().IsClosed() {
		conn.Release()
		return t.connectAlive(ctx)
	}
	return t.own(conn)
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
func (t *tx) runTogether(group []*groupcommit.Request, tries int) {
	if tries == 0 {
		for _, r := range group {
			r.LeaveAlone()
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
	rows, bytes := groupcommit.Size(cs)
	return t.isolation() == ReadCommitted && !t.flushed && !t.native && len(cs.Releases) == 0 && inPlace(cs, t.store) &&
		rows <= maxUnitRows && bytes <= maxUnitBytes
}

// apart reports whether units that write to a collection do not commit with others.
func (t *table) apart() bool { return t == nil || t.mapped != nil || t.desc.SelfReferring }

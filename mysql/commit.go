package mysql

import (
	"context"
	"fmt"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

// Flush implements driver.Tx. It writes in the transaction of the unit's snapshot, or
// of the one that the unit's first read will take.
func (t *tx) Flush(ctx context.Context, cs *driver.ChangeSet) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx); err != nil {
		return err
	}
	if cs.Empty() {
		return nil
	}
	p, err := t.store.plan(cs)
	if err != nil {
		return t.fail(err)
	}
	if err := t.ownSnapshot(ctx, p.existing()); err != nil {
		if len(t.nested) > 0 { // nothing happened, which is what undoes the nested part
			return err
		}
		return t.fail(err)
	}
	if err := t.flush(ctx, p); err != nil {
		return err
	}
	t.flushed = true
	for i := range cs.Writes {
		t.rows = append(t.rows, &driver.Write{Collection: cs.Writes[i].Collection, ID: cs.Writes[i].ID})
	}
	t.written = len(t.rows)
	return p.adjust()
}

func (t *tx) flush(ctx context.Context, p *plan) error {
	s := newScript()
	if err := t.opening(s, max(t.store.options.Isolation, RepeatableRead), true); err != nil {
		return t.fail(err)
	}
	s.do("SAVEPOINT " + atFlush)
	if err := t.connect(ctx); err != nil {
		return t.fail(err)
	}
	if err := t.checkRanges(ctx, p, s); err != nil {
		return t.refuse(t.store.wrap(ctx, "check what was read", err))
	}
	p.writes(s)
	appends := len(p.cs.Messages) > 0
	if appends {
		if !t.marked {
			p.marker(s, true)
		}
		p.messages(s)
	}
	if s.err != nil {
		return t.refuse(s.err)
	}
	t.begun = true
	if _, err := t.run(ctx, s); err != nil {
		t.savepointsMaybeTaken(err)
		return t.undo(ctx, p, err)
	}
	t.savepointsTaken()
	t.marked = t.marked || appends
	t.appended = t.appended || appends
	return nil
}

// savepointsMaybeTaken notes savepoints that were taken before an error: they come
// first, and can't fail. A commit takes none.
func (t *tx) savepointsMaybeTaken(err error) {
	if err == nil || code(err) != 0 {
		t.savepointsTaken()
	}
}

// refuse ends a flush that sent nothing. Where a nested part can be undone by itself
// the transaction stays, and otherwise it is rolled back.
func (t *tx) refuse(err error) error {
	if len(t.nested) > 0 && t.begun {
		return err
	}
	return t.fail(err)
}

// undo explains why a flush failed. Where a nested part can be undone by itself the
// transaction stays, unless the server has rolled it back as a whole, and otherwise
// it is rolled back.
func (t *tx) undo(ctx context.Context, p *plan, err error) error {
	explained := t.explain(ctx, p, err)
	if t.begun && len(t.nested) > 0 && !t.conn.dead {
		return explained
	}
	return t.fail(explained)
}

// Commit implements driver.Tx.
func (t *tx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.own.busy() {
		t.own.close()
	}
	err := t.usable(ctx)
	if err == nil {
		err = t.commit(ctx, cs)
	}
	t.rollback() // does nothing after a commit but give the connection back
	return err
}

func (t *tx) commit(ctx context.Context, cs *driver.ChangeSet) error {
	t.own.close()
	t.leaveSnapshot()
	if cs.Empty() && !t.flushed && !t.native {
		return t.commitReads()
	}
	crowded := t.store.crowd.Enter()
	defer t.store.crowd.Leave()
	if crowded && t.shareable(cs) {
		return t.commitTogether(ctx, cs)
	}
	return t.commitAlone(ctx, cs)
}

// commitAlone commits in a transaction of the unit's own.
func (t *tx) commitAlone(ctx context.Context, cs *driver.ChangeSet) error {
	p, err := t.store.plan(cs)
	if err != nil {
		return err
	}
	if err := t.connect(ctx); err != nil {
		return err
	}
	if !t.conn.alive() {
		return errLost // before anything of the commit was sent
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.store.options.CommitTimeout)
	defer cancel()
	all, err := t.sendCommit(own, p)
	for again := 0; err != nil && again < resends && t.optimistic() && !t.conn.dead && t.store.lost(err); again++ {
		all, err = t.sendCommit(own, p) // everything was undone
	}
	if err != nil {
		return t.refused(own, p, all, err)
	}
	t.begun = false
	if t.appended || len(cs.Messages) > 0 {
		t.store.subscribers.Wake(false)
	}
	return p.adjust()
}

// resends is how often a commit that the server has undone to end a deadlock is sent
// again, where it is all that there was to undo. Where a unit inserts a row that
// another, which comes too late, believes to be there yet, they do not lock it in one
// order: InnoDB locks deleted rows too.
const resends = 5

// sendCommit sends everything that a commit needs.
func (t *tx) sendCommit(ctx context.Context, p *plan) (all bool, err error) {
	s := newScript()
	if err := t.enterCommit(s, p); err != nil {
		return false, err
	}
	if err := t.checkRanges(ctx, p, s); err != nil {
		return false, err
	}
	p.shifts = nil
	p.writes(s)
	if !t.marked {
		p.marker(s, len(p.cs.Messages) > 0)
	}
	p.messages(s)
	s.do("COMMIT AND NO CHAIN NO RELEASE")
	t.begun = true
	return t.run(ctx, s)
}

// enterCommit appends what a commit needs before its writes.
func (t *tx) enterCommit(s *script, p *plan) error {
	if t.optimistic() {
		level := t.level()
		if level == ReadCommitted && t.store.ownLevel == RepeatableRead && p.lockNoGaps() {
			level = RepeatableRead // which is a statement less
		}
		if t.begun {
			t.store.beginAnew(s, level) // which ends the snapshot
		} else {
			t.store.begin(s, level, false)
		}
		return nil
	}
	if t.native {
		if !t.begun {
			return t.gone()
		}
		s.do("RELEASE SAVEPOINT " + guard) // fails when the transaction is another one
	}
	if err := t.opening(s, t.level(), false); err != nil {
		return err
	}
	s.do("SAVEPOINT " + atFlush)
	return nil
}

// checkRanges demands that the queries of a serializable unit have the results that
// they had. They lock what they read, with the gaps in between, so that it stays so.
// What is in the script is sent with them.
func (t *tx) checkRanges(ctx context.Context, p *plan, s *script) error {
	if len(p.cs.Ranges) == 0 || t.store.options.Isolation == Serializable {
		return nil
	}
	got := make([][]driver.RowVersion, len(p.cs.Ranges))
	want := make([][]driver.RowVersion, len(p.cs.Ranges))
	for i, r := range p.cs.Ranges {
		table, err := t.store.table(r.Collection)
		if err != nil {
			return err
		}
		var q driver.Query
		q, want[i] = r.Again(t.ownRows(p.cs, r.Collection))
		s.add("SELECT ", table.keyText(), ", ", table.version, " FROM ", table.name)
		if err := table.where(s, q); err != nil {
			return err
		}
		s.add(forShare).query(func(row []sqldriver.Value) error {
			got[i] = append(got[i], driver.RowVersion{ID: textOf(row[0]), Version: number(row[1]) - table.offset})
			return nil
		})
	}
	t.begun = true
	_, err := t.run(ctx, s)
	t.savepointsMaybeTaken(err)
	if err != nil {
		return err
	}
	*s = *newScript()
	for i, r := range p.cs.Ranges {
		if err := r.Differs(want[i], got[i]); err != nil {
			return err
		}
	}
	return nil
}

// ownRows returns the ids of rows that the transaction has written, or is about to.
func (t *tx) ownRows(cs *driver.ChangeSet, collection string) (ids []string) {
	for _, w := range t.rows {
		if w.Collection == collection {
			ids = append(ids, w.ID)
		}
	}
	for i := range cs.Writes {
		if cs.Writes[i].Collection == collection {
			ids = append(ids, cs.Writes[i].ID)
		}
	}
	return ids
}

// commitReads ends a unit that has changed nothing.
func (t *tx) commitReads() error {
	if !t.begun || t.store.options.Isolation < Serializable {
		return nil // the rollback that follows does
	}
	ctx, cancel := cleanup()
	defer cancel()
	if _, err := t.run(ctx, newScript().do("COMMIT")); err != nil {
		return t.store.wrap(ctx, "commit", err)
	}
	t.begun = false
	return nil
}

// refused tells the outcome of a commit that did not go well. What the server
// refused did not happen, and neither did what was not sent to its end. Everything
// else is in doubt: what the driver thinks of it does not count.
func (t *tx) refused(ctx context.Context, p *plan, all bool, err error) error {
	switch {
	case code(err) == codeNoSavepoint && t.native && all:
		return t.unasked(ctx, p, err)
	case answered(err):
		return t.explain(ctx, p, err)
	case !all:
		return t.store.wrap(ctx, "commit", err)
	}
	return fmt.Errorf("mysql: commit: %w: %w", driver.ErrInDoubt, err)
}

// unasked tells the outcome of a commit that was answered by the lack of a savepoint. It
// may be the answer to an earlier statement, which the network has repeated: the
// protocol does not say what is answered. So the unit's marker does, once the connection
// is gone, and the transaction with it.
func (t *tx) unasked(ctx context.Context, p *plan, refused error) error {
	t.conn.dead = true
	t.release()
	committed, err := t.store.Resolve(ctx, p.cs.Unit)
	switch {
	case err != nil:
		return fmt.Errorf("mysql: commit: %w: %w: %w", driver.ErrInDoubt, refused, err)
	case committed:
		t.store.subscribers.Wake(false)
		return nil
	}
	return fmt.Errorf("%w: %w", ErrRolledBack, refused)
}

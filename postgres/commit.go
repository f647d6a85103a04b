package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/uow-go/uow/driver"
)

// Flush implements driver.Tx. It keeps the unit's snapshot, and takes one where the
// unit has not read yet: what is read after it belongs to the same one.
func (t *tx) Flush(ctx context.Context, cs *driver.ChangeSet) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx); err != nil {
		return err
	}
	if cs.Empty() {
		return nil
	}
	p, err := t.store.plan(cs, true, nil) // the arena's steps are those that begin
	if err != nil {
		return t.fail(err)
	}
	before, err := t.entering(ctx)
	if err != nil {
		return t.fail(err)
	}
	steps := append(append(before, t.savepoints()...), p.steps...)
	if failed, err := t.start(ctx, steps, func() { p.shifts = nil }); err != nil {
		if t.conn == nil {
			return t.fail(err)
		}
		return t.undo(ctx, p, steps, failed, err)
	}
	t.leaveSnapshot()
	t.flushed = true
	t.appended = t.appended || len(cs.Messages) > 0
	t.savepointsTaken()
	return p.adjust()
}

// opening returns the steps that a writing statement needs before it: a
// transaction where there is none, and savepoints for nested parts.
func (t *tx) opening(level Isolation) ([]step, error) {
	var steps []step
	if !t.begun {
		if t.native || t.flushed {
			return nil, t.lost()
		}
		steps = append(steps, plain(t.store.sql.begin[level]))
	}
	return append(steps, t.savepoints()...), nil
}

// undo explains why a flush failed. Where a nested part can be undone by itself the
// transaction stays, and otherwise it is rolled back.
func (t *tx) undo(ctx context.Context, p *plan, steps []step, failed int, err error) error {
	if t.begun && len(t.nested) > 0 {
		t.savepointsMaybeTaken(steps, failed)
		return p.explainApart(ctx, steps, failed, err)
	}
	return t.fail(p.explain(ctx, t.conn.Conn(), steps, failed, err))
}

// Commit implements driver.Tx.
func (t *tx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.usable(ctx)
	if err == nil {
		err = t.commit(ctx, cs)
	}
	t.rollback() // does nothing after a commit but give the connection back
	return err
}

func (t *tx) commit(ctx context.Context, cs *driver.ChangeSet) error {
	t.closeResults()
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
	within := t.flushed || t.native || t.isolation() > ReadCommitted
	p, err := t.store.plan(cs, within, t.arena())
	if err != nil {
		return err
	}
	if err := t.connectAlive(ctx); err != nil {
		return err
	}
	inSnapshot := !within && t.begun && p.snapshotServes()
	steps, explicit, err := t.commitSteps(p, inSnapshot)
	if err != nil {
		return err
	}
	if t.conn.Conn().IsClosed() {
		return errLost // before anything of the commit was sent
	}
	failed, err := t.runFor(t.store.options.CommitTimeout, steps)
	if err != nil && inSnapshot && code(err) == codeSerialization {
		if explained := t.refused(ctx, p, steps, failed, err); !errors.Is(explained, driver.ErrRetryable) {
			return explained
		}
		// The row has its version: something else has changed in it. A transaction of
		// today does not mind.
		steps, explicit = append([]step{plain(t.store.sql.commit)}, p.steps...), false
		p.given.again()
		failed, err = t.runFor(t.store.options.CommitTimeout, steps)
	}
	if err != nil {
		return t.refused(ctx, p, steps, failed, err)
	}
	if tag := steps[len(steps)-1].tag; explicit && tag != "COMMIT" {
		return fmt.Errorf("%w: the server answered COMMIT by %s", ErrRolledBack, tag)
	}
	if t.appended || len(cs.Messages) > 0 {
		t.store.wakes.appended(p.given.keep(&t.store.recent) && !t.appended)
	}
	return p.adjust()
}

// commitSteps are everything that a commit sends. explicit says that its last
// step is COMMIT; otherwise the Sync that follows commits.
func (t *tx) commitSteps(p *plan, inSnapshot bool) (steps []step, explicit bool, err error) {
	sql := t.store.sql
	p.mark()
	body := p.steps
	switch {
	case inSnapshot:
		return append(body, plain(sql.commit)), true, nil
	case (t.flushed || t.native) && !t.begun: // the user's own SQL did it
		return nil, false, t.lost()
	case !p.within && t.begun:
		// The snapshot ends, and what follows it is one transaction up to the Sync.
		return append([]step{plain(sql.commit)}, body...), false, nil
	case !p.within:
		return body, false, nil
	case !t.begun:
		steps = append(steps, plain(sql.begin[t.isolation()]))
	}
	return append(append(steps, body...), plain(sql.commit)), true, nil
}

// commitReads ends a unit that has changed nothing.
func (t *tx) commitReads() error {
	if !t.begun || t.isolation() < Serializable {
		return nil // the rollback that follows does
	}
	steps := []step{plain(t.store.sql.commit)}
	if _, err := t.runFor(cleanupTime, steps); err != nil {
		return t.store.wrap(context.Background(), "commit", err)
	}
	if steps[0].tag != "COMMIT" {
		return fmt.Errorf("%w: the server answered COMMIT by %s", ErrRolledBack, steps[0].tag)
	}
	return nil
}

// refused tells the outcome of a commit that did not go well. What the server
// refused did not happen, and neither did what was not sent. Everything else is in
// doubt: what the driver thinks of it does not count.
func (t *tx) refused(ctx context.Context, p *plan, steps []step, failed int, err error) error {
	confirmed := failed == len(steps) && failed > 0 && steps[failed-1].tag == "COMMIT" // the error is of something else
	if !answered(err) || confirmed {
		return fmt.Errorf("postgres: commit: %w: %w", driver.ErrInDoubt, err)
	}
	return p.explain(context.WithoutCancel(ctx), t.conn.Conn(), steps, failed, err)
}

var errBusy = errors.New("postgres: results of the unit's own SQL are still open")

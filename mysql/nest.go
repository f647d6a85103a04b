package mysql

import (
	"context"
	"fmt"
	"strconv"
)

// nested is a nested part of a transaction. Its savepoint is taken before the first
// statement in it that could leave a trace.
type nested struct {
	taken  bool
	before state // what the transaction was when the part began
}

// atFlush is the savepoint before a change set, to which the transaction returns when
// it fails, so that what is looked up then is what the change set has met.
const atFlush = "uow_flush"

// guard is a savepoint that is gone when the transaction is: it shows at the commit
// that the user's own SQL has not ended it.
const guard = "uow_guard"

func savepointName(depth int) string { return "uow_" + strconv.Itoa(depth) }

// Nest implements driver.Nester.
func (t *tx) Nest(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx); err != nil {
		return err
	}
	t.nested = append(t.nested, nested{before: t.state})
	return nil
}

// savepoints appends the statements that take those that are missing.
func (t *tx) savepoints(s *script) {
	for i, n := range t.nested {
		if !n.taken {
			s.add("SAVEPOINT ", savepointName(i)).end()
		}
	}
}

// taken returns how many savepoints there are.
func (t *tx) taken() (n int) {
	for n < len(t.nested) && t.nested[n].taken {
		n++
	}
	return n
}

func (t *tx) savepointsTaken() {
	for i := range t.nested {
		t.nested[i].taken = true
	}
}

// Unnest implements driver.Nester.
func (t *tx) Unnest(keep bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.nested) == 0 {
		return fmt.Errorf("mysql: there is no nested part to end")
	}
	depth := len(t.nested) - 1
	n := t.nested[depth]
	t.nested = t.nested[:depth]
	if !n.taken {
		return nil
	}
	if err := t.unnest(depth, keep); err != nil {
		t.failed = err
		return err
	}
	if !keep {
		// What was read and locked stays so, and so does the mode of the connection.
		snapshot, locked, native := t.snapshot, t.locked, t.native
		t.state = n.before
		t.snapshot, t.locked, t.native = snapshot, locked, native
		t.rows = t.rows[:t.written]
	}
	return nil
}

// unnest ends the savepoint. That it was still there shows that the transaction is
// the same, and so a guard that was taken within it, and goes with it, is taken anew.
func (t *tx) unnest(depth int, keep bool) error {
	switch {
	case t.store.closed.Load():
		return ErrClosed
	case t.failed != nil:
		return t.failed
	case t.ended || t.conn == nil:
		return errEnded
	}
	if err := t.lost.Load(); err != nil {
		return *err
	}
	if t.own.busy() {
		t.own.close()
	}
	if !t.begun || !t.conn.alive() {
		return t.gone()
	}
	s := newScript()
	if !keep {
		s.add("ROLLBACK TO SAVEPOINT ", savepointName(depth)).end()
	}
	s.add("RELEASE SAVEPOINT ", savepointName(depth)).end()
	if t.native && t.guard > depth {
		s.do("SAVEPOINT " + guard)
		t.guard = depth
	}
	ctx, cancel := cleanup()
	defer cancel()
	if _, err := t.run(ctx, s); err != nil {
		if code(err) == codeNoSavepoint {
			return fmt.Errorf("%w: %w", ErrRolledBack, err)
		}
		return t.store.wrap(ctx, "end a nested part", err)
	}
	return nil
}

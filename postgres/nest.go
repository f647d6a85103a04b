package postgres

import (
	"context"
	"fmt"
)

// nested is a nested part of a transaction. Its savepoint is taken before the first
// statement in it that could leave a trace.
type nested struct {
	taken    bool
	flushed  bool // what the transaction was when the part began
	native   bool
	appended bool
}

func savepoint(verb string, depth int) step {
	return plain(newStatement(fmt.Sprintf("%s uow_%d", verb, depth)))
}

// Nest implements driver.Nester.
func (t *tx) Nest(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx); err != nil {
		return err
	}
	t.nested = append(t.nested, nested{flushed: t.flushed, native: t.native, appended: t.appended})
	return nil
}

// savepoints returns the steps that take those that are missing.
func (t *tx) savepoints() []step {
	var steps []step
	for i, n := range t.nested {
		if !n.taken {
			steps = append(steps, savepoint("SAVEPOINT", i))
		}
	}
	return steps
}

func (t *tx) savepointsTaken() {
	for i := range t.nested {
		t.nested[i].taken = true
	}
}

// savepointsMaybeTaken finds out which savepoints were taken by steps of which one
// failed.
func (t *tx) savepointsMaybeTaken(steps []step, failed int) {
	for i := range steps[:min(failed, len(steps))] {
		if steps[i].tag != "SAVEPOINT" {
			continue
		}
		for j := range t.nested {
			if !t.nested[j].taken {
				t.nested[j].taken = true
				break
			}
		}
	}
}

// Unnest implements driver.Nester.
func (t *tx) Unnest(keep bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.nested) == 0 {
		return fmt.Errorf("postgres: there is no nested part to end")
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
		t.flushed, t.appended = n.flushed, n.appended
	}
	return nil
}

func (t *tx) unnest(depth int, keep bool) error {
	if t.store.closed.Load() {
		return ErrClosed
	}
	if t.failed != nil {
		return t.failed
	}
	if t.ended || t.conn == nil {
		return errEnded
	}
	t.closeResults()
	steps := []step{savepoint("RELEASE SAVEPOINT", depth)}
	if !keep {
		steps = append([]step{savepoint("ROLLBACK TO SAVEPOINT", depth)}, steps...)
	}
	if _, err := t.runFor(cleanupTime, steps); err != nil {
		return t.store.wrap(context.Background(), "end a nested part", err)
	}
	return nil
}

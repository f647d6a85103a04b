package uowtest

import (
	"context"
	"errors"

	"github.com/uow-go/uow/driver"
)

var errResolved = errors.New("uowtest: the place of the unit's marker is taken")

// commit commits and marks the unit, unless somebody was told already that it was
// not committed.
func (t *brokenTx) commit(ctx context.Context, cs *driver.ChangeSet) error {
	t.store.mu.Lock()
	_, told := t.store.units[cs.Unit]
	t.store.mu.Unlock()
	if told && cs.Unit != "" {
		return errors.Join(errResolved, t.Tx.Rollback())
	}
	err := t.Tx.Commit(ctx, cs) // may wait for another transaction, and so holds nothing
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if err == nil {
		t.store.units[cs.Unit] = true
	}
	return err
}

// Resolve implements driver.Resolver.
func (s *brokenStore) Resolve(ctx context.Context, unit string) (bool, error) {
	if s.closed.Load() {
		return false, errClosed
	}
	if s.fault.resolve != nil {
		return s.fault.resolve(s, ctx, unit)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	committed := s.units[unit]
	s.units[unit] = committed
	return committed, nil
}

// Nest implements driver.Nester.
func (t *brokenTx) Nest(ctx context.Context) error {
	t.parts = append(t.parts, part{ctx: ctx})
	if t.store.fault.nest != nil {
		return t.store.fault.nest(t, ctx)
	}
	return t.nest(ctx)
}

// Unnest implements driver.Nester.
func (t *brokenTx) Unnest(keep bool) error {
	defer func() { t.parts = t.parts[:len(t.parts)-1] }()
	if t.store.fault.unnest != nil {
		return t.store.fault.unnest(t, keep)
	}
	return t.unnest(keep)
}

func (t *brokenTx) nest(ctx context.Context) error { return t.Tx.(driver.Nester).Nest(ctx) }
func (t *brokenTx) unnest(keep bool) error         { return t.Tx.(driver.Nester).Unnest(keep) }

// current is the nested part that began last.
func (t *brokenTx) current() *part { return &t.parts[len(t.parts)-1] }

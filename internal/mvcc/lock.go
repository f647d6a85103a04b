package mvcc

import (
	"context"
	"sync"

	"github.com/uow-go/uow/driver"
)

// GetForUpdate implements driver.Locker. The store has one lock for all rows, which
// commits share: a transaction that has locked a row is the only one that can
// commit until it ends.
func (t *tx) GetForUpdate(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	if err := t.lock(ctx, alone); err != nil {
		return nil, err
	}
	rows, err := t.Get(ctx, collection, ids) // takes the snapshot if there is none yet
	if err != nil {
		return nil, err
	}
	return rows, t.fresh(collection, ids)
}

// fresh reports a row that was changed after the transaction's snapshot.
func (t *tx) fresh(collection string, ids []string) error {
	t.store.mu.RLock()
	defer t.store.mu.RUnlock()
	table, err := t.store.table(collection)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, own := t.staged.rows[key{collection, id}]; own {
			continue
		}
		seen, _ := t.see(table, id)
		if newest := table.newest(id); newest.version() != seen.version() {
			return &driver.ConflictError{Collection: collection, ID: id, Expected: seen.version(), Found: newest.version()}
		}
	}
	return nil
}

// lock waits for the store's lock, unless the transaction has it.
func (t *tx) lock(ctx context.Context, how hold) error {
	if t.locked != none {
		return nil
	}
	if err := t.store.gate.enter(ctx, how); err != nil {
		return err
	}
	t.locked = how
	return nil
}

func (t *tx) unlock() {
	if t.locked != none {
		t.store.gate.leave(t.locked)
	}
	t.locked = none
}

// hold is how a transaction has the store's lock.
type hold uint8

const (
	none   hold = iota
	shared      // by a commit
	alone       // by who has locked rows
)

// gate is the store's lock. Who wants it alone goes before those that share it, so
// that a stream of commits does not keep it waiting for ever.
type gate struct {
	mu      sync.Mutex
	shared  int
	alone   bool
	waiting int           // who want it alone
	changed chan struct{} // closed when it may have become free; nil when nobody waits
}

func (g *gate) enter(ctx context.Context, how hold) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if how == alone {
		g.waiting++
		defer func() { g.waiting-- }()
	}
	for g.alone || how == shared && g.waiting > 0 || how == alone && g.shared > 0 {
		if err := g.wait(ctx); err != nil {
			if how == alone {
				g.wake() // those that share it need not wait for this one
			}
			return err
		}
	}
	if how == alone {
		g.alone = true
	} else {
		g.shared++
	}
	return nil
}

// wait lets go of mu until something has changed.
func (g *gate) wait(ctx context.Context) error {
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	changed := g.changed
	g.mu.Unlock()
	defer g.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gate) leave(how hold) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if how == alone {
		g.alone = false
	} else {
		g.shared--
	}
	g.wake()
}

// wake tells those who wait to look again. mu is held.
func (g *gate) wake() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

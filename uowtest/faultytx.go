package uowtest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/uow-go/uow/driver"
)

// faultyTx is a driver.Tx. What else it can do is added by able.
type faultyTx struct {
	tx    driver.Tx
	store *faultyStore
	// wrote is set when others may have to wait for this transaction.
	wrote atomic.Bool
}

type (
	nestingTx struct {
		*faultyTx
		faultyNester
	}
	lockingTx struct {
		*faultyTx
		faultyLocker
	}
	nestingLockingTx struct {
		*faultyTx
		faultyNester
		faultyLocker
	}
)

// able returns the transaction with the abilities of the one beneath.
func (t *faultyTx) able() driver.Tx {
	nester, nests := t.tx.(driver.Nester)
	locker, locks := t.tx.(driver.Locker)
	n, l := faultyNester{nester, t.store.faults}, faultyLocker{locker, t}
	switch {
	case nests && locks:
		return &nestingLockingTx{t, n, l}
	case nests:
		return &nestingTx{t, n}
	case locks:
		return &lockingTx{t, l}
	}
	return t
}

// Unwrap returns the transaction beneath, to the package of its store, which is
// about to run the user's own SQL in it.
func (t *faultyTx) Unwrap() driver.Tx {
	err := t.store.faults.around(context.Background(), Call{Method: "Native"}, func() error { return nil })
	t.wrote.Store(true)
	if err != nil { // there is no way to return it: the SQL finds a transaction that has ended
		_ = t.tx.Rollback()
	}
	return t.tx
}

// Get implements driver.Tx.
func (t *faultyTx) Get(ctx context.Context, collection string, ids []string) (rows []driver.Row, err error) {
	err = t.store.faults.around(ctx, Call{Method: "Get", Collection: collection, IDs: ids}, func() (err error) {
		rows, err = t.tx.Get(ctx, collection, ids)
		return err
	})
	return rows, err
}

// Find implements driver.Tx.
func (t *faultyTx) Find(ctx context.Context, collection string, q driver.Query) (rows []driver.Row, err error) {
	err = t.store.faults.around(ctx, Call{Method: "Find", Collection: collection}, func() (err error) {
		rows, err = t.tx.Find(ctx, collection, q)
		return err
	})
	return rows, err
}

// Count implements driver.Tx.
func (t *faultyTx) Count(ctx context.Context, collection string, q driver.Query) (n int64, err error) {
	err = t.store.faults.around(ctx, Call{Method: "Count", Collection: collection}, func() (err error) {
		n, err = t.tx.Count(ctx, collection, q)
		return err
	})
	return n, err
}

// Flush implements driver.Tx.
func (t *faultyTx) Flush(ctx context.Context, cs *driver.ChangeSet) error {
	return t.store.faults.around(ctx, Call{Method: "Flush", Changes: cs}, func() error {
		t.wrote.Store(true)
		return t.tx.Flush(ctx, cs)
	})
}

// Commit implements driver.Tx.
func (t *faultyTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	made := false
	err := t.store.faults.around(ctx, Call{Method: "Commit", Changes: cs}, func() error {
		if err := t.store.fenced(cs.Unit); err != nil {
			return err
		}
		if err := t.tx.Commit(ctx, cs); err != nil {
			return err
		}
		made = true
		t.store.committed(cs.Unit)
		return nil
	})
	t.store.ended(t)
	switch {
	case made && err != nil && t.store.resolves():
		return doubtful(err)
	case made:
		return nil
	case err == nil: // Around has left the commit out, and says nothing
		err = fmt.Errorf("uowtest: commit: %w", ErrInjected)
	}
	return errors.Join(err, t.tx.Rollback())
}

// doubtful makes sure that an error is driver.ErrInDoubt.
func doubtful(err error) error {
	if errors.Is(err, driver.ErrInDoubt) {
		return err
	}
	return fmt.Errorf("%w: %w", err, driver.ErrInDoubt)
}

// Rollback implements driver.Tx.
func (t *faultyTx) Rollback() (err error) {
	made := false
	end := func() error {
		made = true
		t.store.ended(t)
		return t.tx.Rollback()
	}
	defer func() { // also when Around panics
		if !made {
			err = errors.Join(err, end())
		}
	}()
	return t.store.faults.around(context.Background(), Call{Method: "Rollback"}, end)
}

// faultyNester is a driver.Nester.
type faultyNester struct {
	nester driver.Nester
	faults Faults
}

// Nest implements driver.Nester.
func (n faultyNester) Nest(ctx context.Context) error {
	return n.faults.around(ctx, Call{Method: "Nest"}, func() error { return n.nester.Nest(ctx) })
}

// Unnest implements driver.Nester.
func (n faultyNester) Unnest(keep bool) error {
	return n.faults.around(context.Background(), Call{Method: "Unnest", Keep: keep}, func() error {
		return n.nester.Unnest(keep)
	})
}

// faultyLocker is a driver.Locker.
type faultyLocker struct {
	locker driver.Locker
	tx     *faultyTx
}

// GetForUpdate implements driver.Locker.
func (l faultyLocker) GetForUpdate(ctx context.Context, collection string, ids []string) (rows []driver.Row, err error) {
	call := Call{Method: "GetForUpdate", Collection: collection, IDs: ids}
	err = l.tx.store.faults.around(ctx, call, func() (err error) {
		l.tx.wrote.Store(true)
		rows, err = l.locker.GetForUpdate(ctx, collection, ids)
		return err
	})
	return rows, err
}

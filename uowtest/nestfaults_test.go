package uowtest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// Faults of nested parts, commits in doubt and discarded messages, each named
// after what the store does wrong.

// unnestKeeps keeps what is to be undone.
func unnestKeeps() fault {
	return fault{unnest: func(t *brokenTx, _ bool) error { return t.unnest(true) }}
}

// unnestDrops undoes what is to be kept.
func unnestDrops() fault {
	return fault{unnest: func(t *brokenTx, _ bool) error { return t.unnest(false) }}
}

// unnestNeedsContext sends nothing when the context of the nested part has ended.
func unnestNeedsContext() fault {
	return fault{unnest: func(t *brokenTx, keep bool) error {
		return t.unnest(keep || t.current().ctx.Err() != nil)
	}}
}

// nestsOnce has one savepoint only.
func nestsOnce() fault {
	return fault{
		nest: func(t *brokenTx, ctx context.Context) error {
			if len(t.parts) > 1 {
				return nil
			}
			return t.nest(ctx)
		},
		unnest: func(t *brokenTx, keep bool) error {
			if len(t.parts) > 1 {
				return nil
			}
			return t.unnest(keep)
		},
	}
}

// nestsLate has no savepoint where nothing was flushed before.
func nestsLate() fault {
	return fault{
		flush: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			t.flushed = append(t.flushed, cs)
			return t.Tx.Flush(ctx, cs)
		},
		nest: func(t *brokenTx, ctx context.Context) error {
			if t.current().ignored = t.flushed == nil; t.current().ignored {
				return nil
			}
			return t.nest(ctx)
		},
		unnest: func(t *brokenTx, keep bool) error {
			if t.current().ignored {
				return nil
			}
			return t.unnest(keep)
		},
	}
}

// unnestKeepsMessages undoes rows only.
func unnestKeepsMessages() fault {
	return fault{
		flush: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			for i := range t.parts {
				t.parts[i].messages = append(t.parts[i].messages, cs.Messages...)
			}
			return t.Tx.Flush(ctx, cs)
		},
		unnest: func(t *brokenTx, keep bool) error {
			err := t.unnest(keep)
			if keep || err != nil {
				return err
			}
			messages := slices.Clone(t.current().messages)
			for i := range messages {
				messages[i].Write = 0
			}
			return t.Tx.Flush(context.Background(), &driver.ChangeSet{Messages: messages})
		},
	}
}

// staysFailed refuses everything after a failed flush, undone or not.
func staysFailed() fault {
	return fault{
		flush: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			if t.failed == nil {
				t.failed = t.Tx.Flush(ctx, cs)
			}
			return t.failed
		},
		commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			if t.failed != nil {
				return errors.Join(t.failed, t.Tx.Rollback())
			}
			return t.Tx.Commit(ctx, cs)
		},
	}
}

// forgetsUnits knows of no commit.
func forgetsUnits() fault {
	return fault{resolve: func(*brokenStore, context.Context, string) (bool, error) { return false, nil }}
}

// resolvesLoosely lets units commit of which it has said that they did not.
func resolvesLoosely() fault {
	return fault{resolve: func(s *brokenStore, _ context.Context, unit string) (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.units[unit], nil
	}}
}

// refusesEachSecond refuses each second unit that writes.
func refusesEachSecond() fault {
	return fault{commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		if n := t.store.commits.Add(1); n%2 == 0 && !cs.Empty() {
			return t.refuse()
		}
		return t.commit(ctx, cs)
	}}
}

// refusesOverlaps refuses units that write when another has done so since they
// began.
func refusesOverlaps() fault {
	return fault{commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		if t.store.commits.Load() != t.began && !cs.Empty() {
			return t.refuse()
		}
		err := t.commit(ctx, cs)
		if err == nil && !cs.Empty() {
			t.store.commits.Add(1)
		}
		return err
	}}
}

func (t *brokenTx) refuse() error {
	return errors.Join(fmt.Errorf("uowtest: refused: %w", driver.ErrRetryable), t.Tx.Rollback())
}

// hidesClass returns conflicts, from time to time, as an error of its own.
func hidesClass() fault {
	return fault{
		flush: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			return unclassed(t.Tx.Flush(ctx, cs))
		},
		commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			return unclassed(t.Tx.Commit(ctx, cs))
		},
	}
}

func unclassed(err error) error {
	if err != nil {
		return errors.New("uowtest: deadlock")
	}
	return nil
}

// holdsDiscarded holds what was discarded as soon as a settlement says so.
func holdsDiscarded() fault {
	return fault{
		discard: func(s *brokenStore, ctx context.Context, cursor string, positions []int64) (int, error) {
			held, err := s.Log.Held(ctx, cursor, outbox.HeldFilter{})
			n := 0
			for _, h := range held {
				if slices.Contains(positions, h.Position) && !s.seen[h.Position] {
					s.seen[h.Position] = true
					n++
				}
			}
			return n, err
		},
		settle: func(s *brokenStore, ctx context.Context, lease outbox.Lease, settlement outbox.Settlement) error {
			for _, h := range settlement.Hold {
				delete(s.seen, h.Position)
			}
			return s.Log.Settle(ctx, lease, settlement)
		},
		held: func(s *brokenStore, ctx context.Context, cursor string, filter outbox.HeldFilter) ([]outbox.Held, error) {
			held, err := s.Log.Held(ctx, cursor, filter)
			return slices.DeleteFunc(held, func(h outbox.Held) bool { return s.seen[h.Position] }), err
		},
	}
}

// noNesting has closures of nested units run as if they were not.
func noNesting() fault {
	return fault{nested: func(ctx context.Context, u *uow.Unit, fn func(ctx context.Context, u *uow.Unit) error) error {
		return fn(ctx, u)
	}}
}

// nestingSwallowsPanics has nested units that panic go well.
func nestingSwallowsPanics() fault {
	return fault{nested: func(ctx context.Context, u *uow.Unit, fn func(ctx context.Context, u *uow.Unit) error) error {
		return u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
			defer func() { _ = recover() }()
			return fn(ctx, u)
		})
	}}
}

// sameUnitAgain repeats the closure in its own unit.
func sameUnitAgain() fault {
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
		u := db.Begin()
		defer u.Close()
		err := fn(ctx, u)
		for range 4 {
			if errors.Is(err, uow.ErrRetryable) {
				err = fn(ctx, u)
			}
		}
		if err != nil {
			return err
		}
		return u.Commit(ctx)
	}}
}

// retriesAll repeats the closure after each error.
func retriesAll() fault {
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
		var err error
		for range 7 {
			if err = db.Do(ctx, fn); err == nil {
				return nil
			}
		}
		return err
	}}
}

// neverRetries runs the closure once.
func neverRetries() fault {
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
		u := db.Begin()
		defer u.Close()
		if err := fn(ctx, u); err != nil {
			return err
		}
		return u.Commit(ctx)
	}}
}

// commitErrorsAreSuccess takes what the closure said for the outcome.
func commitErrorsAreSuccess() fault {
	return fault{do: func(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
		u := db.Begin()
		defer u.Close()
		if err := fn(ctx, u); err != nil {
			return err
		}
		_ = u.Commit(ctx)
		return nil
	}}
}

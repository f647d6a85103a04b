package uowtest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/memory"
)

// Faults of transactions, each named after what the store does wrong.

// commitsHalf stores the accounts of a refused change set.
func commitsHalf() fault {
	return fault{commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		err := t.Tx.Commit(ctx, cs)
		if err != nil {
			half := slices.DeleteFunc(slices.Clone(cs.Writes), func(w driver.Write) bool { return w.Collection != "accounts" })
			return errors.Join(err, t.store.again(&driver.ChangeSet{Writes: half}))
		}
		return nil
	}}
}

// storesMessagesAnyway stores the messages of a refused change set.
func storesMessagesAnyway() fault {
	return fault{commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		err := t.Tx.Commit(ctx, cs)
		if err != nil {
			return errors.Join(err, t.store.again(&driver.ChangeSet{Messages: cs.Messages}))
		}
		return nil
	}}
}

// flushIsVisible commits each flush at once.
func flushIsVisible() fault {
	return fault{flush: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		if err := t.Tx.Commit(ctx, cs); err != nil {
			return err
		}
		tx, err := t.store.Store.Begin(ctx, driver.TxOptions{})
		t.Tx = tx
		return err
	}}
}

// seesOtherCommits reads from the newest state instead of a snapshot.
func seesOtherCommits() fault {
	return fault{
		get: func(t *brokenTx, ctx context.Context, collection string, ids []string) (rows []driver.Row, err error) {
			err = t.fresh(ctx, func(tx driver.Tx) error { rows, err = tx.Get(ctx, collection, ids); return err })
			return rows, err
		},
		find: func(t *brokenTx, ctx context.Context, collection string, q driver.Query) (rows []driver.Row, err error) {
			err = t.fresh(ctx, func(tx driver.Tx) error { rows, err = tx.Find(ctx, collection, q); return err })
			return rows, err
		},
	}
}

func (t *brokenTx) fresh(ctx context.Context, fn func(tx driver.Tx) error) error {
	tx, err := t.store.Store.Begin(ctx, driver.TxOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	defer runtime.Gosched() // lets others in between
	return fn(tx)
}

// rollbackKeepsFlushed commits what was flushed instead of rolling it back.
func rollbackKeepsFlushed() fault {
	return fault{rollback: func(t *brokenTx) error {
		if t.ended {
			return nil
		}
		t.end()
		_ = t.Tx.Commit(context.Background(), &driver.ChangeSet{})
		return nil
	}}
}

// rollbackDoesNothing neither undoes nor gives back.
func rollbackDoesNothing() fault {
	return fault{rollback: func(*brokenTx) error { return nil }}
}

// rollbackNeedsContext fails when the context of the transaction has ended.
func rollbackNeedsContext() fault {
	return fault{begin: func(s *brokenStore, ctx context.Context) (driver.Tx, error) {
		tx, err := s.begin(ctx, driver.TxOptions{})
		return &contextTx{brokenTx: tx, ctx: ctx}, err
	}}
}

type contextTx struct {
	*brokenTx
	ctx context.Context
}

func (t *contextTx) Rollback() error { return errors.Join(t.brokenTx.Rollback(), t.ctx.Err()) }

// smallPool has ten connections, and rolled back ones are lost.
func smallPool() fault {
	return fault{
		rollback: func(*brokenTx) error { return nil },
		begin: func(s *brokenStore, ctx context.Context) (driver.Tx, error) {
			if s.open.Load() >= 10 {
				return nil, errors.New("uowtest: no connection is free")
			}
			return s.begin(ctx, driver.TxOptions{})
		},
	}
}

// flushDoesNothing forgets what it is given.
func flushDoesNothing() fault {
	return fault{flush: func(*brokenTx, context.Context, *driver.ChangeSet) error { return nil }}
}

// commitLies says that it committed, and did not.
func commitLies() fault {
	return fault{commit: func(t *brokenTx, _ context.Context, cs *driver.ChangeSet) error {
		if len(cs.Writes) > 0 && cs.Writes[0].Op == driver.Update {
			return t.Tx.Rollback()
		}
		return t.Tx.Commit(context.Background(), cs)
	}}
}

// ignoresVersions writes whatever version it finds.
func ignoresVersions() fault {
	force := func(t *brokenTx, cs *driver.ChangeSet) {
		_ = t.fresh(context.Background(), func(tx driver.Tx) error {
			cs.Writes = forced(tx, cs.Writes)
			return nil
		})
	}
	return fault{
		flush: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			force(t, cs)
			return t.Tx.Flush(ctx, cs)
		},
		commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			force(t, cs)
			err := t.Tx.Commit(ctx, cs)
			for errors.Is(err, uow.ErrConflict) { // somebody was faster: once more
				force(t, cs)
				err = t.store.again(cs)
			}
			return err
		},
	}
}

// forced returns writes that expect what is there.
func forced(tx driver.Tx, writes []driver.Write) []driver.Write {
	var out []driver.Write
	for _, w := range writes {
		rows, _ := tx.Get(context.Background(), w.Collection, []string{w.ID})
		switch {
		case len(rows) == 1:
			w.Expected, w.Version = rows[0].Version, rows[0].Version+1
			if w.Op == driver.Insert {
				w.Op = driver.Update
			}
		case w.Op == driver.Delete:
			continue
		default:
			w.Op, w.Expected, w.Version = driver.Insert, 0, 1
		}
		out = append(out, w)
	}
	return out
}

// flushIsNotGuarded applies what was flushed, at the commit, to whatever is there
// by then.
func flushIsNotGuarded() fault {
	return fault{
		flush: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			t.flushed = append(t.flushed, &driver.ChangeSet{Writes: slices.Clone(cs.Writes)})
			return t.Tx.Flush(ctx, cs)
		},
		commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			if t.flushed == nil {
				return t.Tx.Commit(ctx, cs)
			}
			return t.fresh(ctx, func(tx driver.Tx) error {
				for _, flushed := range append(t.flushed, cs) {
					flushed.Writes = forced(tx, flushed.Writes)
					if err := tx.Flush(ctx, flushed); err != nil {
						return err
					}
				}
				return tx.Commit(ctx, &driver.ChangeSet{})
			})
		},
	}
}

// changes makes a fault that changes each change set before it is committed.
func changes(fn func(s *brokenStore, cs *driver.ChangeSet)) fault {
	return fault{commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		fn(t.store, cs)
		return t.commit(ctx, cs)
	}}
}

func ignoresChecks() fault {
	return changes(func(_ *brokenStore, cs *driver.ChangeSet) { cs.Checks = nil })
}

func dropsLastMessage() fault {
	return changes(func(_ *brokenStore, cs *driver.ChangeSet) {
		if n := len(cs.Messages); n > 1 {
			cs.Messages = cs.Messages[:n-1]
		}
	})
}

func dropsLastWrite() fault {
	return changes(func(_ *brokenStore, cs *driver.ChangeSet) {
		if n := len(cs.Writes); n > 0 && strings.HasPrefix(cs.Writes[n-1].ID, "race") {
			cs.Writes = cs.Writes[:n-1]
		}
	})
}

func ignoresDeletes() fault {
	return fault{flush: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		kept := *cs
		kept.Writes = slices.DeleteFunc(slices.Clone(cs.Writes), func(w driver.Write) bool { return w.Op == driver.Delete })
		return t.Tx.Flush(ctx, &kept)
	}}
}

func reversesMessages() fault {
	return changes(func(_ *brokenStore, cs *driver.ChangeSet) { slices.Reverse(cs.Messages) })
}

func dropsHeaders() fault {
	return changes(func(_ *brokenStore, cs *driver.ChangeSet) {
		for i := range cs.Messages {
			cs.Messages[i].Headers = nil
		}
	})
}

// storesMessagesLate keeps each commit's messages back until two more came, and
// stores the newest first.
func storesMessagesLate() fault {
	return changes(func(s *brokenStore, cs *driver.ChangeSet) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range cs.Messages {
			cs.Messages[i].Write = 0
		}
		s.late = append(cs.Messages, s.late...)
		cs.Messages = nil
		if len(s.late) > 2 {
			cs.Messages, s.late = s.late, nil
		}
	})
}

// writesWhatWasRead writes each row that was read, changed or not.
func writesWhatWasRead() fault {
	f := changes(nil)
	f.get = func(t *brokenTx, ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
		rows, err := t.Tx.Get(ctx, collection, ids)
		t.read[collection] = append(t.read[collection], rows...)
		return rows, err
	}
	f.commit = func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
		for collection, rows := range t.read {
			for _, row := range rows {
				if slices.ContainsFunc(cs.Writes, func(w driver.Write) bool { return w.ID == row.ID }) || collection == "natives" {
					continue
				}
				w := driver.Write{
					Op: driver.Update, Collection: collection, ID: row.ID, Body: row.Body, Sequence: row.Sequence,
					Expected: row.Version, Version: row.Version + 1,
				}
				if collection == "accounts" {
					w.Indexes = []driver.Value{nil, nil}
				}
				cs.Writes = append(cs.Writes, w)
			}
		}
		return t.Tx.Commit(ctx, cs)
	}
	return f
}

// restartsVersions begins at version 1 again when a row is inserted anew: what it
// tells of such rows is what a store without memory would.
func restartsVersions() fault {
	shift := map[string]int64{}
	return fault{
		get: func(t *brokenTx, ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
			rows, err := t.Tx.Get(ctx, collection, ids)
			for i := range rows {
				rows[i].Version -= shift[rows[i].ID]
			}
			return rows, err
		},
		commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			for i := range cs.Writes {
				if w := &cs.Writes[i]; w.Op != driver.Insert {
					w.Expected, w.Version = w.Expected+shift[w.ID], w.Version+shift[w.ID]
				}
			}
			err := t.Tx.Commit(ctx, cs)
			for _, w := range cs.Writes {
				if w.Op == driver.Insert && err == nil {
					shift[w.ID] = w.Version - 1
				}
			}
			return err
		},
	}
}

// leaksGoroutines leaves one behind for each transaction.
func leaksGoroutines(t testing.TB) fault {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	return fault{begin: func(s *brokenStore, ctx context.Context) (driver.Tx, error) {
		go func() { <-stop }()
		return s.begin(ctx, driver.TxOptions{})
	}}
}

// staysOpen closes nothing.
func staysOpen() fault { return fault{close: func(*brokenStore) error { return nil }} }

// forgetsEverything is a new store when it is opened again.
func forgetsEverything() fault {
	return fault{harness: func(h *Harness) {
		h.Reopen = func(t testing.TB, cfg uow.Config) *uow.DB {
			db, err := memory.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			return db
		}
	}}
}

// nativeOutside writes beside the unit.
func nativeOutside() fault {
	return fault{harness: func(h *Harness) {
		var db *uow.DB
		open := h.Open
		h.Open = func(t testing.TB, cfg uow.Config) *uow.DB { db = open(t, cfg); return db }
		h.Native = &Native{Count: countNative, Insert: func(ctx context.Context, _ *uow.Unit, name string) error {
			return db.Do(ctx, func(ctx context.Context, u *uow.Unit) error { return insertNative(ctx, u, name) })
		}}
	}}
}

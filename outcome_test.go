package uow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

var errCut = errors.New("connection reset")

// remote is a store that loses answers: commits are in doubt, and Resolve fails
// until it is reachable again.
type remote struct {
	driver.Store
	commits   bool          // what really happens
	reachable time.Duration // when Resolve answers, after the commit
	hangs     bool          // Resolve waits for its context instead of failing

	committed time.Time
	asked     []string
	open      int // transactions
}

func (s *remote) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	s.open++
	tx, err := s.Store.Begin(ctx, options)
	return &remoteTx{Tx: tx, store: s}, err
}

func (s *remote) Resolve(ctx context.Context, unit string) (bool, error) {
	s.asked = append(s.asked, unit)
	if time.Since(s.committed) >= s.reachable {
		return s.commits, nil
	}
	if s.hangs {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return false, errCut
}

type remoteTx struct {
	driver.Tx
	store *remote
	ended bool
}

func (t *remoteTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	t.end()
	t.store.committed = time.Now()
	if t.store.commits {
		if err := t.Tx.Commit(ctx, cs); err != nil {
			return err
		}
	} else if err := t.Tx.Rollback(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", errCut, driver.ErrInDoubt)
}

func (t *remoteTx) Rollback() error {
	t.end()
	return t.Tx.Rollback()
}

func (t *remoteTx) end() {
	if !t.ended {
		t.ended = true
		t.store.open--
	}
}

// remoteDesk is a desk whose store is a remote.
func remoteDesk(t *testing.T, s *remote, cfg uow.Config) *desk {
	t.Helper()
	d := newDesk(t, uow.Config{})
	s.Store = d.db.Store()
	cfg.Collections = []uow.AnyCollection{d.notes}
	db, err := uow.Open(t.Context(), s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.db = db
	return d
}

// addTraced adds a note in a unit with hooks.
func (d *desk) addTraced(ran *trace) (id string, err error) {
	err = d.try(func(_ context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		id = u.ID()
		*ran = append(*ran, "closure")
		return errors.Join(notes.Add(&note{ID: u.ID()}), u.AfterCommit(ran.hook("committed", nil)),
			u.AfterRollback(func(context.Context, error) error { *ran = append(*ran, "rolled back"); return nil }))
	})
	return id, err
}

func TestLostAnswers(t *testing.T) {
	always := uow.Retry{MaxAttempts: 2, Conflicts: true, MinBackoff: time.Nanosecond, MaxBackoff: time.Nanosecond}
	for name, c := range map[string]struct {
		store remote
		cfg   uow.Config
		is    error
		ran   string
		took  time.Duration // at least
		most  time.Duration
	}{
		"committed":                  {remote{commits: true}, uow.Config{Retry: always}, nil, "closure, committed", 0, 0},
		"committed, known later":     {remote{commits: true, reachable: 5 * time.Second}, uow.Config{Retry: always}, nil, "closure, committed", 5 * time.Second, 6 * time.Second},
		"not committed":              {remote{}, uow.Config{}, uow.ErrRetryable, "closure, rolled back", 0, 0},
		"not committed, known later": {remote{reachable: time.Minute}, uow.Config{ResolveTimeout: time.Hour}, uow.ErrRetryable, "closure, rolled back", time.Minute, 61 * time.Second},
		"not committed, twice":       {remote{}, uow.Config{Retry: always}, uow.ErrRetryable, "closure, rolled back, closure, rolled back", 0, time.Millisecond},
		"never known":                {remote{commits: true, reachable: 1000 * time.Hour}, uow.Config{Retry: always}, uow.ErrInDoubt, "closure", 10 * time.Second, 10 * time.Second},
		"never an answer":            {remote{reachable: 1000 * time.Hour, hangs: true}, uow.Config{Retry: always, ResolveTimeout: time.Minute}, uow.ErrInDoubt, "closure", time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ran trace
				d := remoteDesk(t, &c.store, c.cfg)
				begin := time.Now()
				id, err := d.addTraced(&ran)
				if took := time.Since(begin); took < c.took || took > c.most {
					t.Errorf("it took %v, want %v", took, c.took)
				}
				if !errors.Is(err, c.is) || (c.is == nil) != (err == nil) || errors.Is(err, uow.ErrInDoubt) != (c.is == uow.ErrInDoubt) { //nolint:errorlint // c.is is one of three
					t.Errorf("got %v, want %v", err, c.is)
				}
				ran.want(t, c.ran)
				if c.store.open != 0 {
					t.Errorf("%d transactions are left open", c.store.open)
				}
				for i, asked := range c.store.asked {
					if i == len(c.store.asked)-1 && asked != id {
						t.Errorf("the store was asked for %s, want %s", asked, id)
					}
				}
				if c.is == uow.ErrInDoubt { //nolint:errorlint // see above
					wantDoubt(t, d, &c.store, id, err)
					ran.want(t, c.ran)
				}
			})
		})
	}
}

// wantDoubt demands an error that helps, and that Resolve answers later.
func wantDoubt(t *testing.T, d *desk, s *remote, id string, err error) {
	t.Helper()
	var doubt *uow.InDoubtError
	if !errors.As(err, &doubt) || doubt.Unit != id || !errors.Is(err, errCut) || !strings.Contains(err.Error(), id) {
		t.Errorf("got %v, want an *InDoubtError of unit %s with the reason", err, id)
	}
	s.reachable = 0
	if committed, err := d.db.Resolve(t.Context(), id); committed != s.commits || err != nil {
		t.Errorf("Resolve returned %v, %v, want %v", committed, err, s.commits)
	}
}

// The search for the outcome does not end with the caller's context.
func TestLostAnswerAndCancelledContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &remote{commits: true, reachable: 3 * time.Second}
		d := remoteDesk(t, s, uow.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := d.db.Do(ctx, func(_ context.Context, u *uow.Unit) error { return d.notes.In(u).Add(&note{ID: "n"}) })
		if err != nil || ctx.Err() == nil {
			t.Errorf("got %v, %v, want a commit that was found out after the context's end", err, ctx.Err())
		}
	})
}

func TestResolveErrors(t *testing.T) {
	d := newDesk(t, uow.Config{})
	_, err := d.db.Resolve(t.Context(), "unit")
	wantError(t, err, nil, "never in doubt")
	d = remoteDesk(t, &remote{committed: time.Now(), reachable: time.Hour}, uow.Config{})
	_, err = d.db.Resolve(t.Context(), "unit")
	wantError(t, err, errCut, "resolve")
}

// A hook that is in doubt about another unit does not make this one so.
func TestDoubtOfAnotherUnit(t *testing.T) {
	s := &remote{commits: true}
	d := remoteDesk(t, s, uow.Config{})
	var ran trace
	err := d.try(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		return errors.Join(notes.Add(&note{ID: "n"}), u.Flush(ctx), u.AfterRollback(ran.rolledBack("rolled back")),
			u.BeforeCommit(func(context.Context) error { return &uow.InDoubtError{Unit: "another", Err: errCut} }))
	})
	wantError(t, err, errCut, "BeforeCommit hook")
	if len(ran) != 1 || s.open != 0 {
		t.Errorf("%q ran and %d transactions are open, want a rollback", ran, s.open)
	}
}

// Nor does a hook that tries to commit leave the unit open.
func TestCommitInAHook(t *testing.T) {
	s := &remote{commits: true}
	d := remoteDesk(t, s, uow.Config{})
	var ran trace
	err := d.try(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		return errors.Join(notes.Add(&note{ID: "n"}), u.Flush(ctx), u.AfterRollback(ran.rolledBack("rolled back")),
			u.BeforeCommit(u.Commit))
	})
	wantError(t, err, uow.ErrManaged, "BeforeCommit hook")
	if len(ran) != 1 || s.open != 0 {
		t.Errorf("%q ran and %d transactions are open, want a rollback", ran, s.open)
	}
}

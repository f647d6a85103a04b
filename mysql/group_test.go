package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit/grouptest"
	"github.com/uow-go/uow/internal/storetest"
)

// group is what tests of groups need of the store.
func (f *fixture) group() *grouptest.Fixture {
	q := &f.store.commits
	return &grouptest.Fixture{TB: f.T, Store: f.store, Enter: f.enter, Waiting: q.Waiting, Lead: func() (end func()) { return grouptest.Lead(f.T, q) }}
}

func (f *fixture) enter() (commit func(ctx context.Context, cs *driver.ChangeSet) error) {
	f.Helper()
	t := f.Tx().(*tx)
	t.mu.Lock()
	return func(ctx context.Context, cs *driver.ChangeSet) error {
		defer t.mu.Unlock()
		defer t.rollback()
		return t.commitTogether(ctx, cs)
	}
}

func TestGroupMixedFates(t *testing.T) {
	f := open(t, "", Options{})
	execute(t, f.store, `ALTER TABLE documents ADD CHECK (count < 100)`)
	grouptest.MixedFates(f.group(), grouptest.Refusals{
		Constraint: func(err error) bool { return code(err) == 4025 || code(err) == 3819 },
		Text:       "t\xff", ErrText: ErrText, ErrFenced: ErrFenced,
	})
}

// TestGroupIsOneTransaction counts round trips and transactions.
func TestGroupIsOneTransaction(t *testing.T) {
	p := newProxy(t)
	f := open(t, through(t, newDatabase(t), p.Address()), Options{})
	f.quiet()
	ids := storetest.Names("a", 20)
	f.Insert(ids...)
	var sets []*driver.ChangeSet
	for _, id := range ids {
		sets = append(sets, grouptest.Update("unit "+id, id, 1, "m-"+id))
	}
	sets = append(sets, grouptest.Update("stale", ids[0], 1)) // clashes, and has lost with the group
	commits := 0
	p.Watch(func(m packet) verdict {
		if m.client {
			commits += bytes.Count(m.body, []byte("COMMIT AND"))
		}
		return forward
	})
	var errs []error
	trips := p.Count(func() { errs = f.group().Together(sets...) })
	p.Watch(nil)
	if commits != 1 || trips != 1 {
		t.Errorf("20 units were committed by %d transactions in %d round trips, want 1", commits, trips)
	}
	f.Must(errors.Join(errs[:20]...))
	if !grouptest.IsConflict(errs[20], 1, 2) {
		t.Errorf("got %v, want a conflict", errs[20])
	}
	if got, _ := f.Drain(0); !slices.IsSorted(got) || len(got) != 20 {
		t.Errorf("the log has %v", got)
	}
}

func TestGroupSameRow(t *testing.T) { grouptest.SameRow(open(t, "", Options{}).group()) }

func TestGroupDeleteAndInsert(t *testing.T) {
	grouptest.DeleteAndInsert(open(t, "", Options{}).group())
}

func TestGroupUniqueIndex(t *testing.T) {
	f := storetest.NewUnique(t, func(cfg uow.Config) (*uow.DB, error) { return Open(t.Context(), newDatabase(t), cfg) })
	grouptest.UniqueIndex((&fixture{Fixture: f, store: f.Store.(*Store)}).group())
}

func TestGroupDoesNotWait(t *testing.T) { grouptest.DoesNotWait(open(t, "", Options{}).group()) }

func TestGroupContext(t *testing.T) { grouptest.HeedsContexts(open(t, "", Options{}).group()) }

// TestCutGroups cuts the connection at each message of a group's commit: each unit
// must learn by itself what became of it.
func TestCutGroups(t *testing.T) {
	p := newProxy(t)
	dsn := newDatabase(t)
	f := open(t, through(t, dsn, p.Address()), Options{MaxConns: 2})
	direct := open(t, dsn, Options{})
	f.quiet()
	doubts, committed := 0, 0
	for at := 0; ; at++ {
		for _, v := range []verdict{cutBefore, cutAfter} {
			f.store.db.SetMaxIdleConns(0) // connections that were cut after their last answer
			f.store.db.SetMaxIdleConns(2)
			var sets []*driver.ChangeSet
			for i := range 3 {
				unit := fmt.Sprintf("cut %d %d %d", at, v, i)
				sets = append(sets, insert(unit, unit, "m "+unit))
			}
			var reached *atomic.Bool
			errs := f.group().Gathered(func(int) context.Context { return t.Context() }, func() { reached = p.At(at, v) }, sets...)
			p.Watch(nil)
			if !reached.Load() {
				f.Must(errors.Join(errs...))
				if doubts == 0 || committed == 0 {
					t.Errorf("%d in doubt, %d of them committed: the proxy does not do its work", doubts, committed)
				}
				return
			}
			fates := map[bool]int{}
			for i, err := range errs {
				now := direct.truth(sets[i].Unit, sets[i].Unit, err)
				fates[now]++
				if errors.Is(err, driver.ErrInDoubt) {
					if doubts++; now {
						committed++
					}
				}
			}
		}
	}
}

package postgres

import (
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
	f := open(t, needServer(t), Options{})
	script(t, f.store, `ALTER TABLE `+f.store.schema+`.documents ADD CHECK (count < 100)`)
	grouptest.MixedFates(f.group(), grouptest.Refusals{
		Constraint: func(err error) bool { return code(err) == "23514" },
		Text:       "t\x00", ErrText: ErrText, ErrFenced: ErrFenced,
	})
}

// TestGroupIsOneTransaction counts round trips and markers' transactions.
func TestGroupIsOneTransaction(t *testing.T) {
	f := open(t, needServer(t), Options{})
	ids := storetest.Names("a", 20)
	f.Insert(ids...)
	var sets []*driver.ChangeSet
	for _, id := range ids {
		sets = append(sets, grouptest.Update("unit "+id, id, 1, "m-"+id))
	}
	sets = append(sets, grouptest.Update("stale", ids[0], 5)) // clashes, and so is of the next group
	errs := f.group().Together(sets...)
	if !grouptest.IsConflict(errs[20], 5, 2) {
		t.Errorf("got %v, want a conflict", errs[20])
	}
	f.Must(errors.Join(errs[:20]...))
	var n int
	f.Must(f.store.pool.QueryRow(t.Context(), `SELECT count(DISTINCT xmin::text) FROM `+f.store.schema+`.uow_units WHERE unit = ANY($1)`, keys(sets[:20])).Scan(&n))
	if n != 1 {
		t.Errorf("20 units were committed in %d transactions, want 1", n)
	}
	if got, _ := f.Drain(0); !slices.IsSorted(got) || len(got) != 20 {
		t.Errorf("the log has %v", got)
	}
}

func keys(sets []*driver.ChangeSet) (list [][16]byte) {
	for _, cs := range sets {
		list = append(list, [16]byte(key(cs.Unit)))
	}
	return list
}

func TestGroupSameRow(t *testing.T) { grouptest.SameRow(open(t, needServer(t), Options{}).group()) }

func TestGroupDeleteAndInsert(t *testing.T) {
	grouptest.DeleteAndInsert(open(t, needServer(t), Options{}).group())
}

func TestGroupUniqueIndex(t *testing.T) {
	f := storetest.NewUnique(t, func(cfg uow.Config) (*uow.DB, error) {
		return Options{Schema: newSchema(t)}.Open(t.Context(), needServer(t), cfg)
	})
	grouptest.UniqueIndex((&fixture{f, f.Store.(*Store)}).group())
}

func TestGroupDoesNotWait(t *testing.T) {
	grouptest.DoesNotWait(open(t, needServer(t), Options{}).group())
}

func TestGroupContext(t *testing.T) {
	grouptest.HeedsContexts(open(t, needServer(t), Options{}).group())
}

// TestCutGroups cuts the connection at each message of a group's commit: each unit
// must learn by itself what became of it.
func TestCutGroups(t *testing.T) {
	p := newProxy(t)
	f := open(t, through(t, p.Address()), Options{MaxConns: 2})
	direct := open(t, needServer(t), Options{Schema: unquote(f.store.schema)})
	f.quiet()
	doubts, committed := 0, 0
	for at := 0; ; at++ {
		for _, v := range []verdict{cutBefore, cutAfter} {
			f.store.pool.Reset()
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
				now := direct.truth(sets[i].Unit, err)
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

// TestRepeatedMessagesOfGroups has each message of a group's commit come twice: a
// group has no COMMIT that could be executed and then refused, so that an error of the
// server means that nothing happened; and answers that are left over are not taken for
// those of the next group, which gets the connection.
func TestRepeatedMessagesOfGroups(t *testing.T) {
	p := newProxy(t)
	f := open(t, through(t, p.Address()), Options{MaxConns: 2})
	direct := open(t, needServer(t), Options{Schema: unquote(f.store.schema)})
	f.quiet()
	f.Insert("read")
	group := func(name string) (sets []*driver.ChangeSet) {
		for i := range 3 {
			unit := fmt.Sprintf("%s %d", name, i)
			sets = append(sets, insert(unit, unit, "m "+unit))
		}
		return sets
	}
	judge := func(sets []*driver.ChangeSet, errs []error) {
		for i, err := range errs {
			direct.truth(sets[i].Unit, err)
		}
	}
	for at, more := 0, true; more; at++ {
		f.store.pool.Reset()
		reached := &atomic.Bool{}
		first, second := group(fmt.Sprint("first ", at)), group(fmt.Sprint("second ", at))
		errs := f.group().Gathered(func(int) context.Context { return t.Context() }, func() { reached = p.At(at, repeat) }, first...)
		p.Watch(nil)
		judge(first, errs)
		judge(second, f.group().Together(second...))

		// One that has read leads with what ends its snapshot.
		alone := group(fmt.Sprint("alone ", at))[:1]
		leader := f.Tx().(*tx)
		_, err := leader.Get(t.Context(), "documents", []string{"read"})
		f.Must(err)
		again := p.At(at, repeat)
		func() {
			leader.mu.Lock()
			defer leader.mu.Unlock()
			err = leader.commitTogether(t.Context(), alone[0])
			p.Watch(nil)
			leader.rollback()
		}()
		judge(alone, []error{err})
		more = reached.Load() || again.Load()
	}
}

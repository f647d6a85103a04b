package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/faultproxy"
	"github.com/uow-go/uow/integration/internal/stores"
)

// TestCuts goes through all messages of units of several shapes, alone and beside
// other units, does each fault to each message, and demands that what the caller is
// told is what is in the database.
func TestCuts(t *testing.T) {
	var all tally
	tested := stores.WithServer(&local)
	whole := 0
	for _, s := range tested {
		t.Run(s.Name, func(t *testing.T) {
			var total tally
			enough := 500
			if s.Variant { // in which messages are left out
				enough /= 10
			}
			ran, list := 0, shapes()
			for _, sh := range list {
				for _, others := range []int{0, 3} {
					t.Run(fmt.Sprintf("%s/%d others", sh.name, others), func(t *testing.T) {
						noGoroutineLeft(t)
						c := &cuts{world: newWorld(t, s), shape: sh, others: others, sparse: 1}
						if others > 0 {
							c.sparse *= 12
						}
						if s.Variant {
							c.sparse *= 8
						}
						c.run()
						total.add(c.tally)
						ran++
					})
				}
			}
			t.Logf("%+v", total)
			if ran < 2*len(list) {
				return // not all were asked for
			}
			if total.Cuts < enough || total.Committed == 0 || total.Committed > total.Cuts/2 || total.Doubted == 0 && !s.Variant {
				t.Errorf("the proxy does not do its work: %+v", total)
			}
			all.add(total)
			whole++
		})
	}
	t.Logf("%+v", all)
	if whole == len(tested) && all.Cuts < 1000 {
		t.Errorf("%d cuts, want 1000", all.Cuts)
	}
}

// tally counts what was done, and how it ended.
type tally struct {
	Cuts      int // connections that ended because of it
	Others    int // other faults
	Committed int // of the units that met a cut
	Settled   int // whose commit had lost its answer, and that were told the truth all the same
	Doubted   int // that were told that nobody knows
	Points    int // messages
}

func (a *tally) add(b tally) {
	a.Cuts += b.Cuts
	a.Others += b.Others
	a.Committed += b.Committed
	a.Settled += b.Settled
	a.Doubted += b.Doubted
	a.Points += b.Points
}

// cuts are the faults of the units of one shape.
type cuts struct {
	*world
	shape  *shape
	others int
	sparse int // how many messages are left out
	units  int // so far
	tally  tally
}

// plan lists the faults with how many messages lie between two that meet it: those
// that make units wait are dear, and beside other units there are many more.
func (c *cuts) plan() []planned {
	list := []planned{
		{faultproxy.CutBefore, 1}, {faultproxy.CutWithin, 4}, {faultproxy.CutAfter, 1}, {faultproxy.Duplicate, 3},
		{faultproxy.Delay, 6}, {faultproxy.Hold, 9}, {faultproxy.Outage, 9}, {faultproxy.OutageAfter, 9},
	}
	for i := range list {
		list[i].step *= c.sparse
	}
	return list
}

type planned struct {
	fault faultproxy.Fault
	step  int
}

func (c *cuts) run() {
	random := chance(c.T)
	c.slot("victim")
	stop := c.company()
	for range *cutRounds {
		for _, p := range c.plan() {
			for at := random.IntN(p.step); c.at(at, p.fault); at += p.step {
			}
		}
	}
	stop()
	c.end()
}

// company has other units run meanwhile. Their answers are compared by end.
func (c *cuts) company() (stop func()) {
	ctx, cancel := context.WithCancel(c.Context())
	var done sync.WaitGroup
	list := shapes()
	for g := range c.others {
		slot := fmt.Sprint("other", g)
		c.slot(slot)
		done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				sh := list[(g+i)%3]
				j := job{shape: sh, slot: slot, name: fmt.Sprintf("%s-%d", slot, i), note: "beside"}
				a := c.do(c.Context(), c.db, j, func() {})
				if a.doubted {
					c.Errorf("%s: in doubt: %v", j, a.err)
				}
				if a.err != nil {
					c.compare(j, a)
				}
			}
		})
	}
	return func() { cancel(); done.Wait() }
}

// at does a fault to a message of a unit. It returns false when the unit has fewer.
func (c *cuts) at(at int, fault faultproxy.Fault) bool {
	c.Helper()
	c.units++
	j := job{shape: c.shape, slot: "victim", name: fmt.Sprintf("victim-%d", c.units)}
	seen, met := 0, faultproxy.Message{}
	c.proxy.Watch(func(m faultproxy.Message) faultproxy.Fault {
		seen++
		if seen != at+1 {
			return faultproxy.None
		}
		met = m
		return fault
	})
	ctx, db := c.Context(), c.db
	if mayDoubt(fault) {
		limited, cancel := context.WithTimeout(ctx, 2*patience)
		defer cancel()
		ctx, db = limited, c.hasty
		late := time.AfterFunc(3*patience, c.proxy.Release)
		defer late.Stop()
	}
	a := c.do(ctx, db, j, func() { c.proxy.Heal(); c.proxy.Release() })
	c.proxy.Watch(nil)
	c.proxy.Heal()
	c.proxy.Release()
	if met.Size == 0 {
		c.compare(j, a)
		if a.err != nil {
			c.recover(j)
		}
		return a.err != nil // a connection of an earlier fault; then this one was none
	}
	j.note = fmt.Sprintf("%v at message %d, %v", fault, at+1, met)
	c.count(fault, a)
	if a.doubted && !mayDoubt(fault) {
		c.Errorf("%s: in doubt, although the database could be asked: %v", j, a.err)
	}
	c.compare(j, a)
	c.recover(j)
	return true
}

// mayDoubt says that a fault can leave a unit in doubt: nobody can be asked, or the
// commit is still on its way and the server holds its marker.
func mayDoubt(fault faultproxy.Fault) bool {
	return fault == faultproxy.Outage || fault == faultproxy.OutageAfter || fault == faultproxy.Hold
}

func (c *cuts) count(fault faultproxy.Fault, a answer) {
	c.tally.Points++
	switch fault {
	case faultproxy.Delay, faultproxy.Duplicate, faultproxy.Hold:
		c.tally.Others++
		return
	}
	c.tally.Cuts++
	if a.committed {
		c.tally.Committed++
	}
	if a.doubted {
		c.tally.Doubted++
	}
	if strings.Contains(fmt.Sprint(a.err), "the commit did not happen") {
		c.tally.Settled++
	}
}

// recover demands that the store goes on: a unit goes well once the connections that
// have ended are used up, and those that fail until then have done nothing. Where
// several run at once that must look as if they did not, the server also refuses some
// which have met no fault.
func (c *cuts) recover(after job) {
	c.Helper()
	var err error
	for tries, refused := 0, 0; tries < 2*maxConns && refused < 1000; {
		c.units++
		j := job{shape: shapes()[0], slot: "victim", name: fmt.Sprintf("victim-%d", c.units), note: "after " + after.String()}
		a := c.do(c.Context(), c.db, j, func() {})
		if a.doubted {
			c.Errorf("%s: in doubt: %v", j, a.err)
		}
		if a.err == nil {
			return
		}
		c.compare(j, a)
		if errors.Is(a.err, uow.ErrConflict) {
			c.Errorf("%s: a conflict with nobody: %v", j, a.err)
		}
		if err = a.err; c.variant && errors.Is(err, uow.ErrRetryable) {
			refused++
		} else {
			tries++
		}
	}
	c.Fatalf("after %s: the store does not go on: %v", after, err)
}

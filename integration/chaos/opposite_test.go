package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/faultproxy"
	"github.com/uow-go/uow/integration/internal/stores"
)

// TestOppositeOrder has 32 goroutines change the same rows of two collections, one
// half of them in the opposite order of the other, and demands that no server
// reports a deadlock, where none is promised, and that every change counts.
func TestOppositeOrder(t *testing.T) {
	for _, s := range stores.All(&local) {
		t.Run(s.Name, func(t *testing.T) {
			noGoroutineLeft(t)
			o := newOpposite(t, s)
			o.run(chance(t))
			if n := o.deadlocks.Load(); n > 0 && !s.Server.Deadlocks {
				t.Errorf("%d deadlocks", n)
			}
			o.compare()
			t.Logf("%d units, %d attempts that failed", o.units.Load(), o.failures.Load())
		})
	}
}

const (
	goroutines = 32
	sameRows   = 24 // in each collection
	atOnce     = 3  // of each that a unit changes
)

type contest struct {
	*testing.T
	db                         *stores.Database
	variant                    bool
	left, right                *uow.Collection[thing]
	deadlocks, units, failures atomic.Int64
}

func newOpposite(t *testing.T, s stores.Store) *contest {
	t.Helper()
	o := &contest{T: t, variant: s.Variant, left: uow.NewCollection[thing]("lefts"), right: uow.NewCollection[thing]("rights")}
	options := stores.Options{Config: uow.Config{
		Collections: []uow.AnyCollection{o.left, o.right},
		Retry:       uow.Retry{MaxAttempts: 10_000, Conflicts: true, MinBackoff: 2 * time.Millisecond, MaxBackoff: 50 * time.Millisecond},
	}, MaxConns: goroutines / 2}
	if s.Server != nil {
		proxy, err := faultproxy.New(s.Server.Protocol, s.Server.Address(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxy.Close)
		proxy.Watch(func(m faultproxy.Message) faultproxy.Fault {
			if !m.FromClient && m.Text == s.Server.Deadlock {
				o.deadlocks.Add(1)
			}
			return faultproxy.None
		})
		options.Address = proxy.Address()
	}
	o.db = s.Open(t, options)
	err := o.db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		for i := range sameRows {
			for _, c := range []*uow.Collection[thing]{o.left, o.right} {
				if err := c.In(u).Add(&thing{ID: rowID(i)}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func rowID(i int) string { return fmt.Sprintf("row %02d", i) }

func (o *contest) run(random *rand.Rand) {
	units := 12
	if o.variant { // which the server refuses more often than it does not
		units = 4
	}
	ctx, cancel := context.WithCancel(o.Context())
	defer cancel()
	limited := ctx
	if *opposite > 0 {
		units = 1 << 30
		timed, cancel := context.WithTimeout(ctx, *opposite)
		defer cancel()
		limited = timed
	}
	var done sync.WaitGroup
	for g := range goroutines {
		own := rand.New(rand.NewPCG(random.Uint64(), uint64(g)))
		done.Go(func() {
			for i := 0; i < units && limited.Err() == nil; i++ {
				err := o.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error { return o.unit(ctx, u, own, g, i) })
				if err != nil {
					o.Errorf("goroutine %d, unit %d: %v", g, i, err)
					return
				}
				o.units.Add(1)
			}
		})
	}
	done.Wait()
}

// unit changes rows of both collections, adds one of its own, and every now and then
// takes a row away that others want too, or brings it back.
func (o *contest) unit(ctx context.Context, u *uow.Unit, random *rand.Rand, g, i int) error {
	if err := u.AfterRollback(func(context.Context, error) error { o.failures.Add(1); return nil }); err != nil {
		return err
	}
	rows := random.Perm(sameRows)[:atOnce]
	slices.Sort(rows)
	collections := []*uow.Collection[thing]{o.left, o.right}
	if g%2 == 1 {
		slices.Reverse(rows)
		slices.Reverse(collections)
	}
	for _, c := range collections {
		for _, row := range rows {
			a, err := c.In(u).Get(ctx, rowID(row))
			if err != nil {
				return err
			}
			a.touch("")
		}
		if i%4 == 0 {
			if err := flicker(ctx, c.In(u)); err != nil {
				return err
			}
		}
	}
	return collections[0].In(u).Add(&thing{ID: fmt.Sprintf("own %d %d", g, i)})
}

func flicker(ctx context.Context, r *uow.Repository[thing]) error {
	got, err := r.GetMany(ctx, "flicker")
	if err != nil {
		return err
	}
	if len(got) == 1 {
		return r.Remove(got[0])
	}
	return r.Add(&thing{ID: "flicker"})
}

func (o *contest) compare() {
	o.Helper()
	sum, own := int64(0), int64(0)
	err := o.db.Do(o.Context(), func(ctx context.Context, u *uow.Unit) error {
		for _, c := range []*uow.Collection[thing]{o.left, o.right} {
			all, err := c.In(u).Find(ctx, uow.Query{})
			if err != nil {
				return err
			}
			for _, a := range all {
				sum += a.Count
				if a.ID[:3] == "own" {
					own++
				}
			}
		}
		return nil
	})
	if err != nil {
		o.Fatal(err)
	}
	if want := o.units.Load(); sum != want*2*atOnce || own != want {
		o.Errorf("%d units have left %d changes and %d rows of their own, want %d and %d", want, sum, own, want*2*atOnce, want)
	}
}

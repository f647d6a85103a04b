package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/faultproxy"
	"github.com/uow-go/uow/integration/internal/servers"
	"github.com/uow-go/uow/integration/internal/stores"
	"github.com/uow-go/uow/postgres"
)

// cluster is a primary with a synchronous standby, and a switch before both.
type cluster struct {
	*testing.T
	primary, standby *servers.Postgres
	replication      *faultproxy.Proxy // from the standby to its primary
	proxy            *faultproxy.Proxy // from clients to the primary
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	primary, err := servers.StartPostgres("synchronous_commit=on")
	if err != nil {
		servers.Missing(t, "PostgreSQL to start: install its server", err)
	}
	c := &cluster{T: t, primary: primary}
	t.Cleanup(func() { c.primary.Remove() })
	if c.proxy, err = faultproxy.New(faultproxy.Postgres{}, primary.Address()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.proxy.Close)
	c.follow()
	return c
}

// follow gives the primary a standby, for which commits wait from then on.
func (c *cluster) follow() {
	c.Helper()
	replication, err := faultproxy.New(faultproxy.Postgres{}, c.primary.Address())
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(replication.Close)
	c.replication = replication
	if c.standby, err = c.primary.StartStandby(replication.Address(), "synchronous_commit=on"); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(c.standby.Remove)
	if err := c.primary.Synchronous(c.Context()); err != nil {
		c.Fatal(err)
	}
}

// failOver kills the primary, and makes the standby the primary.
func (c *cluster) failOver() {
	c.Helper()
	c.primary.Kill()
	c.replication.Close()
	if err := c.standby.Promote(); err != nil {
		c.Fatal(err)
	}
	c.primary.Remove()
	c.primary = c.standby
	c.proxy.Switch(c.primary.Address())
}

func (c *cluster) dsn() string {
	return "postgres://postgres@" + c.proxy.Address() + "/postgres?sslmode=disable"
}

// TestFailover kills primaries under load, and demands of each unit that what its
// caller was told, or is told when it asks again, is what the standby has.
func TestFailover(t *testing.T) {
	c := newCluster(t)
	w := &world{T: t, proxy: c.proxy, model: newModel(), seen: map[string]int{}, things: uow.NewCollection[thing]("things")}
	open := func(patience time.Duration) *stores.Database {
		cfg := uow.Config{
			Collections:    []uow.AnyCollection{w.things},
			ResolveTimeout: patience,
			Retry:          uow.Retry{MaxAttempts: 20, MaxBackoff: 100 * time.Millisecond},
		}
		return stores.Postgres(t, c.dsn(), stores.Options{Config: cfg, Name: "failover", MaxConns: 8}, postgres.Options{})
	}
	w.direct, w.db, w.hasty = open(time.Minute), open(time.Minute), open(50*time.Millisecond)
	f := &failover{world: w}
	const writers = 8
	for g := range writers {
		w.slot(fmt.Sprint("writer", g))
	}
	for round := range *failoverRounds {
		if round > 0 {
			c.follow()
		}
		stop := f.write(writers, round)
		f.more(200)
		c.failOver()
		f.more(200)
		stop()
		f.settle()
		w.compareAll()
	}
	t.Logf("%d units committed, %d failed, %d in doubt (%d of them committed)",
		f.committed.Load(), f.failed.Load(), f.doubted, f.doubtedCommitted)
	if f.failed.Load()+int64(f.doubted) == 0 {
		t.Error("no unit has noticed the failover")
	}
}

// failover is a load of units.
type failover struct {
	*world
	committed, failed atomic.Int64
	doubts            []doubt
	doubted           int // that were settled
	doubtedCommitted  int
}

// doubt is a unit of which its caller knows nothing.
type doubt struct {
	job  job
	unit string
}

// more waits until so many more units were committed.
func (f *failover) more(n int64) {
	f.Helper()
	target := f.committed.Load() + n
	until(f, "more units are committed", func() bool { return f.committed.Load() >= target })
}

// write has writers do units until stop is called. A writer whose unit is in doubt
// ends, since nobody knows what its things are.
func (f *failover) write(writers, round int) (stop func()) {
	ctx, cancel := context.WithCancel(f.Context())
	var done sync.WaitGroup
	list := shapes()
	for g := range writers {
		db := f.db
		if g%4 == 3 {
			db = f.hasty
		}
		done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				j := job{shape: list[(g+i)%3], slot: fmt.Sprint("writer", g), name: fmt.Sprintf("round%d-writer%d-%d", round, g, i), note: "failover"}
				if !f.unit(db, j) {
					return
				}
			}
		})
	}
	return func() { cancel(); done.Wait() }
}

// unit does one; false when it is in doubt.
func (f *failover) unit(db *stores.Database, j job) bool {
	err := db.Do(f.Context(), func(ctx context.Context, u *uow.Unit) error { return j.shape.run(ctx, f.world, u, j) })
	var d *uow.InDoubtError
	switch {
	case errors.As(err, &d):
		f.mu.Lock()
		defer f.mu.Unlock()
		f.doubts = append(f.doubts, doubt{j, d.Unit})
		return false
	case err != nil:
		if f.failed.Add(1)%100 == 0 {
			f.Logf("%s: %v", j, err)
		}
	default:
		f.mu.Lock()
		defer f.mu.Unlock()
		j.shape.effect(f.model, j)
		f.committed.Add(1)
	}
	return true
}

// settle asks for the units in doubt.
func (f *failover) settle() {
	f.Helper()
	for _, d := range f.doubts {
		committed, err := f.hasty.Resolve(f.Context(), d.unit)
		for range 8 { // connections that are dead
			if err != nil {
				committed, err = f.hasty.Resolve(f.Context(), d.unit)
			}
		}
		f.must(err)
		f.doubted++
		if committed {
			f.doubtedCommitted++
			d.job.shape.effect(f.model, d.job)
		}
	}
	f.doubts = nil
}

// TestAnswersWaitForTheStandby cuts the standby off while a unit commits. PostgreSQL
// ends the wait for a standby when the client gives up and asks it to cancel: the
// commit is then there to see on the primary, and lost with it. Nobody may be told
// that it was committed.
func TestAnswersWaitForTheStandby(t *testing.T) {
	c := newCluster(t)
	things := uow.NewCollection[thing]("things")
	cfg := uow.Config{Collections: []uow.AnyCollection{things}, ResolveTimeout: time.Second}
	o := stores.Options{Config: cfg, Name: "standby"}
	db := stores.Postgres(t, c.dsn(), o, postgres.Options{CommitTimeout: 200 * time.Millisecond})
	c.replication.Watch(func(m faultproxy.Message) faultproxy.Fault {
		if m.FromClient {
			return faultproxy.None
		}
		return faultproxy.CutBefore // and again, whenever the standby connects
	})
	err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		return things.In(u).Add(&thing{ID: "a"})
	})
	var d *uow.InDoubtError
	said := err == nil
	if errors.As(err, &d) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		said, err = db.Resolve(ctx, d.Unit) // waits for the standby too
		said = said && err == nil
	}
	c.failOver()
	there := false
	until(t, "the new primary answers", func() bool {
		err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
			got, err := things.In(u).GetMany(ctx, "a")
			there = len(got) == 1
			return err
		})
		return err == nil
	})
	if there {
		t.Fatal("the commit has reached the standby: the test does not do its work")
	}
	if said {
		t.Error("the unit was said to be committed, and the standby does not have it")
	}
	if d == nil {
		t.Fatalf("got %v, want an *InDoubtError: the standby could not be asked", err)
	}
	until(t, "the unit in doubt can be asked for", func() bool {
		said, err = db.Resolve(t.Context(), d.Unit)
		return err == nil
	})
	if said {
		t.Error("after the failover the unit was said to be committed, and is not there")
	}
}

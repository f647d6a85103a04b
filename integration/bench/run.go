package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Store is a kind of database, with the variants that are compared on it.
type Store struct {
	Name string
	// Variants has the one of uow first.
	Variants []Variant
	// Make makes an empty database for one run.
	Make func(ctx context.Context) (where string, remove func() error, err error)
	// Rows is how many accounts a unit changes, and Messages how many messages it adds.
	Rows, Messages int64
}

// Variant is one way to do the unit.
type Variant struct {
	Name string
	// Open opens what Make has made, and fills it.
	Open func(ctx context.Context, where string) (Subject, error)
	// Exclusive says that units wait for each other before they load, so that none conflicts.
	Exclusive bool
}

// Subject does units.
type Subject interface {
	// Unit loads an account, changes it, adds a message and commits. When somebody
	// else has changed the account meanwhile, nothing happens and errors.Is(err,
	// ErrConflict).
	Unit(ctx context.Context, id string, change func(*Account)) error
	// Sums tells what is in the database.
	Sums(ctx context.Context) (Sums, error)
	Close() error
}

// Sums are sums over all rows.
type Sums struct {
	Changes  int64 // versions, which begin at 1, less the number of rows
	Balance  int64
	Messages int64
}

// Load is who does units, and for how long.
type Load struct {
	Callers int
	// Hot is the number of accounts that all callers share, each with the others, and
	// a unit that conflicts is done again. 0: each caller has accounts of its own.
	Hot int
	// Time is when to stop; Units, where not 0, after how many units.
	Time  time.Duration
	Units int
}

// Result is what a run has measured.
type Result struct {
	Units     int
	Conflicts int // units that had to be done again
	Elapsed   time.Duration
	Allocs    float64         // allocations for each unit, all of the process
	Latencies []time.Duration // sorted
}

// Rate is units per second.
func (r Result) Rate() float64 { return float64(r.Units) / r.Elapsed.Seconds() }

// Percentile is the latency that a share of the units, 0 to 1, did not exceed.
func (r Result) Percentile(p float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[int(p*float64(len(r.Latencies)-1))]
}

// Once runs a variant on a database of its own, and checks what it has left there.
// A tenth of the time goes before, to fill connections and caches.
func (s *Store) Once(ctx context.Context, v Variant, load Load) (result Result, err error) {
	where, remove, err := s.Make(ctx)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	subject, err := v.Open(ctx, where)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, subject.Close()) }()
	warm := load
	warm.Time /= 10
	before, err := Run(ctx, subject, warm)
	if err != nil {
		return result, err
	}
	result, err = Run(ctx, subject, load)
	if err != nil {
		return result, err
	}
	return result, s.verify(ctx, subject, before.Units+result.Units)
}

// verify compares the database with the units that were counted.
func (s *Store) verify(ctx context.Context, subject Subject, units int) error {
	got, err := subject.Sums(ctx)
	if err != nil {
		return err
	}
	n := int64(units)
	if want := (Sums{Changes: n * s.Rows, Balance: n * s.Rows, Messages: n * s.Messages}); got != want {
		return fmt.Errorf("bench: after %d units the database has %+v, want %+v", units, got, want)
	}
	return nil
}

// Run does units until the load is over.
func Run(ctx context.Context, s Subject, load Load) (Result, error) {
	parts := make([]caller, load.Callers)
	var wg sync.WaitGroup
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	for i := range parts {
		c := &parts[i]
		c.units = load.Units / load.Callers
		if i < load.Units%load.Callers {
			c.units++
		}
		if load.Units > 0 && c.units == 0 {
			continue
		}
		c.ids = load.ids(i)
		wg.Go(func() { c.err = c.work(ctx, s, start.Add(load.Time), load.Hot > 0) })
	}
	wg.Wait()
	sum := Result{Elapsed: time.Since(start)}
	runtime.ReadMemStats(&after)
	for i := range parts {
		if parts[i].err != nil {
			return sum, parts[i].err
		}
		sum.Units += len(parts[i].latencies)
		sum.Conflicts += parts[i].conflicts
		sum.Latencies = append(sum.Latencies, parts[i].latencies...)
	}
	if sum.Units > 0 {
		sum.Allocs = float64(after.Mallocs-before.Mallocs) / float64(sum.Units)
	}
	slices.Sort(sum.Latencies)
	return sum, nil
}

// ids are the accounts of a caller.
func (l Load) ids(caller int) []string {
	first, n := caller*(Rows/MaxCallers), Rows/MaxCallers
	if l.Hot > 0 {
		first, n = 0, l.Hot
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = accountID(first + i)
	}
	return ids
}

type caller struct {
	ids       []string
	units     int
	latencies []time.Duration
	conflicts int
	err       error
}

func (c *caller) work(ctx context.Context, s Subject, until time.Time, again bool) error {
	for {
		began := time.Now()
		if c.units > 0 && len(c.latencies) == c.units || c.units == 0 && began.After(until) {
			return nil
		}
		id := c.ids[rand.IntN(len(c.ids))]
		err := s.Unit(ctx, id, increment)
		for ; again && errors.Is(err, ErrConflict); c.conflicts++ {
			err = s.Unit(ctx, id, increment)
		}
		if err != nil {
			return err
		}
		c.latencies = append(c.latencies, time.Since(began))
	}
}

func increment(a *Account) { a.Balance++ }

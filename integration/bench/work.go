// Package bench compares stores with what one would write by hand on the same
// driver. All variants do the same unit: load a row of some 300 bytes of JSON,
// change it with a check of its version, add a message of 300 bytes to an outbox,
// commit.
package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Account is the row.
type Account struct {
	ID      string
	Owner   string
	Balance int64
	Tags    []string
	Note    string
}

// Rows is how many rows there are.
const Rows = 2048

// MaxGoroutines is the greatest number of goroutines; each changes rows of its
// own, so that no variant meets a conflict.
const MaxGoroutines = 256

func newAccount(i int) *Account {
	return &Account{
		ID:    fmt.Sprintf("account-%06d", i),
		Owner: fmt.Sprintf("owner-%d@example.com", i),
		Tags:  []string{"retail", "verified", "eu-west"},
		Note:  strings.Repeat("n", 170),
	}
}

func payload() []byte {
	return []byte(`{"text":"` + strings.Repeat("m", 289) + `"}`)
}

// Variant is one way to do the unit.
type Variant struct {
	Name string
	// Open makes a database in a folder.
	Open func(ctx context.Context, dir string) (Subject, error)
}

// Subject does units.
type Subject interface {
	// Unit changes one row. It returns how often it had to begin anew.
	Unit(ctx context.Context, id string) (retries int, err error)
	Close() error
}

// Result is what a run has measured.
type Result struct {
	Units     int
	Retries   int
	Elapsed   time.Duration
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

// Run does units in goroutines until time is up, or until all of a number are
// done when limit is not 0.
func Run(ctx context.Context, s Subject, goroutines int, d time.Duration, limit int) (Result, error) {
	parts := make([]Result, goroutines)
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	start := time.Now()
	for g := range goroutines {
		share := limit / goroutines
		if g < limit%goroutines {
			share++
		}
		if limit > 0 && share == 0 {
			continue
		}
		wg.Go(func() { errs[g] = work(ctx, s, g, start.Add(d), share, &parts[g]) })
	}
	wg.Wait()
	sum := Result{Elapsed: time.Since(start)}
	for i := range parts {
		if errs[i] != nil {
			return sum, errs[i]
		}
		sum.Units += parts[i].Units
		sum.Retries += parts[i].Retries
		sum.Latencies = append(sum.Latencies, parts[i].Latencies...)
	}
	slices.Sort(sum.Latencies)
	return sum, nil
}

func work(ctx context.Context, s Subject, g int, until time.Time, share int, r *Result) error {
	per := Rows / MaxGoroutines
	ids := make([]string, per)
	for i := range ids {
		ids[i] = newAccount(g*per + i).ID
	}
	for {
		began := time.Now()
		if share > 0 && r.Units == share || share == 0 && began.After(until) {
			return nil
		}
		retries, err := s.Unit(ctx, ids[rand.IntN(per)])
		if err != nil {
			return err
		}
		r.Latencies = append(r.Latencies, time.Since(began))
		r.Units++
		r.Retries += retries
	}
}

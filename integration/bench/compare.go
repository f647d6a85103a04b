package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Comparison is all variants of something under one load: one table.
type Comparison struct {
	// Title says what is done, and under which load.
	Title string
	// Key is what marks name it by.
	Key string
	// Store and Load are what does units, and how many.
	Store *Store
	Load  Load
	// Runners are the variants, and Columns the table's, where it is not units of a
	// Store that are compared.
	Runners []Runner
	Columns []Column
	// Results has a result for each round, by the variants' places.
	Results [][]Result
}

// Runner is a variant of whatever is compared.
type Runner struct {
	Name string
	// Once does one run, and checks what it has left.
	Once func(ctx context.Context) (Result, error)
}

// Column is a column of a table.
type Column struct {
	Head string
	Of   func(c *Comparison, variant int) string
}

// runners are the variants, whatever they do.
func (c *Comparison) runners() []Runner {
	if c.Store == nil {
		return c.Runners
	}
	runners := make([]Runner, len(c.Store.Variants))
	for i, v := range c.Store.Variants {
		runners[i] = Runner{Name: v.Name, Once: func(ctx context.Context) (Result, error) { return c.Store.Once(ctx, v, c.Load) }}
	}
	return runners
}

// Run runs the rounds. In each all variants take turns, beginning with another one,
// so that what else the machine does meets all of them.
func (c *Comparison) Run(ctx context.Context, rounds int) error {
	variants := c.runners()
	c.Results = make([][]Result, len(variants))
	for round := range rounds {
		for turn := range variants {
			i := (round + turn) % len(variants)
			r, err := variants[i].Once(ctx)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", c.Title, variants[i].Name, err)
			}
			c.Results[i] = append(c.Results[i], r)
		}
	}
	return nil
}

// Ratios are how many times as many units a second the first variant has done as
// another one, in each round, sorted.
func (c *Comparison) Ratios(variant int) []float64 {
	var ratios []float64
	for round, r := range c.Results[variant] {
		ratios = append(ratios, c.Results[0][round].Rate()/r.Rate())
	}
	slices.Sort(ratios)
	return ratios
}

// Of returns a value of each round of a variant, sorted.
func (c *Comparison) Of(variant int, value func(Result) float64) []float64 {
	var values []float64
	for _, r := range c.Results[variant] {
		values = append(values, value(r))
	}
	slices.Sort(values)
	return values
}

// variant finds a variant by its name; -1: there is none.
func (c *Comparison) variant(name string) int {
	return slices.IndexFunc(c.runners(), func(r Runner) bool { return r.Name == name })
}

// median is of sorted values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return (values[len(values)/2] + values[(len(values)-1)/2]) / 2
}

func last(values []float64) float64 { return values[len(values)-1] }

func seconds(p float64) func(Result) float64 {
	return func(r Result) float64 { return r.Percentile(p).Seconds() }
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

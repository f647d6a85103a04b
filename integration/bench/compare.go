package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Comparison is all variants of a store under one load: one table.
type Comparison struct {
	// Title says what the store and the load are.
	Title string
	// Key is what marks name it by.
	Key   string
	Store *Store
	Load  Load
	// Results has a result for each round, by the variants' places.
	Results [][]Result
}

// Run runs the rounds. In each all variants take turns, beginning with another one,
// so that what else the machine does meets all of them.
func (c *Comparison) Run(ctx context.Context, rounds int) error {
	variants := c.Store.Variants
	c.Results = make([][]Result, len(variants))
	for round := range rounds {
		for turn := range variants {
			i := (round + turn) % len(variants)
			r, err := c.Store.Once(ctx, variants[i], c.Load)
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
	return slices.IndexFunc(c.Store.Variants, func(v Variant) bool { return v.Name == name })
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

package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"
)

// Report writes the table of a comparison.
func (c *Comparison) Report(w io.Writer) {
	fmt.Fprintf(w, "\n### %s\n\n", c.Title)
	fmt.Fprintln(w, "| variant | units/s, median (range) | p50 | p99 | worst, median (highest) | allocations | uow is, median (range) |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	for i, v := range c.Store.Variants {
		rates, worst := c.Of(i, Result.Rate), c.Of(i, seconds(1))
		fmt.Fprintf(w, "| %s | %s (%s to %s) | %s | %s | %s (%s) | %.0f | %s |\n", v.Name+c.again(i),
			number(median(rates)), number(rates[0]), number(last(rates)),
			short(median(c.Of(i, seconds(0.5)))), short(median(c.Of(i, seconds(0.99)))), short(median(worst)), short(last(worst)),
			median(c.Of(i, func(r Result) float64 { return r.Allocs })), c.ratio(i))
	}
}

// again says how many units conflicted, where any did.
func (c *Comparison) again(variant int) string {
	share := median(c.Of(variant, func(r Result) float64 { return float64(r.Conflicts) / float64(max(r.Units, 1)) }))
	if share == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.2f conflicts a unit)", share)
}

func (c *Comparison) ratio(variant int) string {
	if variant == 0 {
		return ""
	}
	ratios := c.Ratios(variant)
	return fmt.Sprintf("**%.2f** (%.2f to %.2f)", median(ratios), ratios[0], last(ratios))
}

func number(x float64) string {
	if x < 100 {
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// short writes a duration with three digits.
func short(seconds float64) string {
	d := duration(seconds)
	for unit := time.Microsecond; unit < time.Second; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
	return d.Round(time.Second / 100).String()
}

// CodecAllocs returns how many allocations of a unit are those of encoding/json:
// decode and encode the account, encode the event.
func CodecAllocs() (float64, error) {
	const times = 1000
	a := newAccount(0)
	body, err := json.Marshal(&a)
	if err != nil {
		return 0, err
	}
	event := newEvent()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		if body, err = edit(body, increment); err != nil {
			return 0, err
		}
		if _, err = json.Marshal(event); err != nil {
			return 0, err
		}
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / times, nil
}

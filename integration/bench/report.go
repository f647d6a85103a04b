package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// Report writes the table of a comparison.
func (c *Comparison) Report(w io.Writer) {
	columns := c.Columns
	if columns == nil {
		columns = unitColumns()
	}
	fmt.Fprintf(w, "\n### %s\n\n| variant |", c.Title)
	for _, column := range columns {
		fmt.Fprintf(w, " %s |", column.Head)
	}
	fmt.Fprintf(w, "\n|%s\n", strings.Repeat("---|", len(columns)+1))
	for i, r := range c.runners() {
		fmt.Fprintf(w, "| %s |", r.Name+c.again(i))
		for _, column := range columns {
			fmt.Fprintf(w, " %s |", column.Of(c, i))
		}
		fmt.Fprintln(w)
	}
}

// unitColumns are the columns where units are compared.
func unitColumns() []Column {
	return []Column{
		rates("units/s"), percentile("p50", 0.5), percentile("p99", 0.99), worst(),
		{"allocations", func(c *Comparison, i int) string {
			return fmt.Sprintf("%.0f", median(c.Of(i, func(r Result) float64 { return r.Allocs })))
		}},
		ratios(),
	}
}

func rates(unit string) Column {
	return Column{unit + ", median (range)", func(c *Comparison, i int) string {
		rates := c.Of(i, Result.Rate)
		return fmt.Sprintf("%s (%s to %s)", number(median(rates)), number(rates[0]), number(last(rates)))
	}}
}

func percentile(name string, p float64) Column {
	return Column{name, func(c *Comparison, i int) string { return short(median(c.Of(i, seconds(p)))) }}
}

func worst() Column {
	return Column{"worst, median (highest)", func(c *Comparison, i int) string {
		worst := c.Of(i, seconds(1))
		return fmt.Sprintf("%s (%s)", short(median(worst)), short(last(worst)))
	}}
}

func ratios() Column { return Column{"uow is, median (range)", (*Comparison).ratio} }

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

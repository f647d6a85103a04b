package bench

import (
	"fmt"
	"io"
	"strings"
)

// Mark is what uow wants to reach in a comparison.
type Mark struct {
	Key  string // of the comparison
	Peer string // the variant that it is about
	Text string
	// Least and Most bound the value; 0: not bounded.
	Least, Most float64
	// Value is what counts: the median over the rounds of what is measured.
	Value func(c *Comparison, peer int) float64
}

// rate is how many times as many units a second uow does as the peer.
func rate(c *Comparison, peer int) float64 { return median(c.Ratios(peer)) }

// slower is how many times as long uow takes for a unit as the peer.
func slower(c *Comparison, peer int) float64 { return 1 / rate(c, peer) }

// tail is a percentile of uow's latencies by one of the peer's.
func tail(p float64) func(c *Comparison, peer int) float64 {
	return func(c *Comparison, peer int) float64 {
		return median(c.Of(0, seconds(p))) / median(c.Of(peer, seconds(p)))
	}
}

// Marks lists what is to be reached. codec is how many allocations of a unit are the
// codec's.
func Marks(codec float64) []Mark {
	const five, two, first, own = "pgx, five trips", "pgx, two trips", "one writer, mutex", "own transactions"
	allocs := func(c *Comparison, _ int) float64 {
		return median(c.Of(0, func(r Result) float64 { return r.Allocs })) - codec
	}
	atLeast := func(key, peer string, least float64) Mark {
		return Mark{Key: key, Peer: peer, Text: "units/s against " + peer, Least: least, Value: rate}
	}
	noWorse := func(key, peer string, p float64, name string, most float64) Mark {
		return Mark{Key: key, Peer: peer, Text: name + " against " + peer, Most: most, Value: tail(p)}
	}
	marks := []Mark{
		atLeast("postgres, 1", five, 1.4), atLeast("postgres, 8", five, 1.4), atLeast("postgres delayed, 1", five, 2.1),
		atLeast("postgres, 32", five, 3.5), atLeast("postgres delayed, 32", five, 2.3), atLeast("postgres, 256", "GORM", 8),
		atLeast("postgres, 1", two, 0.95), atLeast("postgres, 8", two, 0.95),
		atLeast("postgres delayed, 1", two, 0.95), atLeast("postgres delayed, 8", two, 0.95),
		{Key: "postgres, 1", Peer: "uow", Text: "allocations above the codec's", Most: 40, Value: allocs},
		atLeast("sqlite, 1", first, 0.9), atLeast("sqlite, 32", first, 6), atLeast("sqlite, 32", own, 9),
		noWorse("sqlite, 32", own, 1, "worst", 0.2),
		atLeast("mysql, 8", "go-sql-driver, five trips", 1),
		{Key: "tracking, PostgreSQL", Peer: "pgx by hand", Text: "time against by hand", Most: 1.3, Value: slower},
		{Key: "tracking, SQLite", Peer: "database/sql by hand", Text: "time against by hand", Most: 1.3, Value: slower},
	}
	for _, link := range []string{"postgres", "postgres delayed"} {
		for _, callers := range []string{"1", "8", "32", "256"} {
			key := link + ", " + callers
			marks = append(marks, noWorse(key, five, 0.99, "p99", 1), noWorse(key, five, 1, "worst", 1))
		}
	}
	return marks
}

// ReportMarks writes which marks were reached, of those whose comparisons have run.
func ReportMarks(w io.Writer, marks []Mark, ran []*Comparison) {
	var lines strings.Builder
	for _, m := range marks {
		for _, c := range ran {
			peer := c.variant(m.Peer)
			if c.Key != m.Key || peer < 0 || c.variant("uow") != 0 {
				continue
			}
			value, want := m.Value(c, peer), fmt.Sprintf("at least %v", m.Least)
			reached := value >= m.Least
			if m.Most > 0 {
				want, reached = fmt.Sprintf("at most %v", m.Most), value <= m.Most
			}
			fmt.Fprintf(&lines, "| %s | %s | %s | %.2f | %s |\n", c.Title, m.Text, want, value, map[bool]string{true: "yes", false: "**no**"}[reached])
		}
	}
	if lines.Len() == 0 {
		return
	}
	fmt.Fprint(w, "\n### Marks\n\n| table | of uow | mark | median | reached |\n|---|---|---|---|---|\n", lines.String())
}

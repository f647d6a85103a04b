// Command sqlite-ratios compares package sqlite with code by hand on the same
// driver. Rounds of all variants are interleaved, so that what else the machine
// does meets all of them, and ratios are those within a round.
//
//	go run ./bench/cmd/sqlite-ratios -rounds 5 -time 2s
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow/integration/bench"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds; the median counts")
	duration := flag.Duration("time", 2*time.Second, "duration of one run")
	dir := flag.String("dir", os.TempDir(), "folder for the databases, on the disk to be measured")
	flag.Parse()
	if err := compare(*rounds, *duration, *dir); err != nil {
		log.Fatal(err)
	}
}

func compare(rounds int, d time.Duration, dir string) error {
	fmt.Printf("%s, %d interleaved rounds of %v, synchronous=FULL\n\n", time.Now().UTC().Format(time.DateOnly), rounds, d)
	fmt.Println("| goroutines | variant | units/s, median | range | p50 | p99 | worst | uow is, median of rounds |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, goroutines := range []int{1, 8, 32} {
		results := map[string][]bench.Result{}
		ratios := map[string][]float64{}
		for range rounds {
			for _, v := range bench.SQLite() {
				r, err := once(v, goroutines, d, dir)
				if err != nil {
					return fmt.Errorf("%s with %d goroutines: %w", v.Name, goroutines, err)
				}
				results[v.Name] = append(results[v.Name], r)
				uow := results["uow"]
				ratios[v.Name] = append(ratios[v.Name], uow[len(uow)-1].Rate()/r.Rate())
			}
		}
		for _, v := range bench.SQLite() {
			report(goroutines, v.Name, results[v.Name], ratios[v.Name])
		}
	}
	return nil
}

func once(v bench.Variant, goroutines int, d time.Duration, dir string) (bench.Result, error) {
	ctx := context.Background()
	folder, err := os.MkdirTemp(dir, "sqlite-ratios")
	if err != nil {
		return bench.Result{}, err
	}
	defer os.RemoveAll(folder)
	s, err := v.Open(ctx, folder)
	if err != nil {
		return bench.Result{}, err
	}
	defer s.Close()
	if _, err := bench.Run(ctx, s, goroutines, 200*time.Millisecond, 0); err != nil {
		return bench.Result{}, err
	}
	return bench.Run(ctx, s, goroutines, d, 0)
}

func report(goroutines int, name string, results []bench.Result, ratios []float64) {
	var each []string
	for _, ratio := range ratios {
		each = append(each, fmt.Sprintf("%.2f", ratio))
	}
	slices.Sort(ratios)
	slices.SortFunc(results, func(a, b bench.Result) int { return cmp.Compare(a.Rate(), b.Rate()) })
	m := results[len(results)/2]
	fmt.Printf("| %d | %s | %.0f | %.0f to %.0f | %v | %v | %v | **%.2f** (%s) |\n", goroutines, name,
		m.Rate(), results[0].Rate(), results[len(results)-1].Rate(),
		round(m, 0.5), round(m, 0.99), round(m, 1), ratios[len(ratios)/2], strings.Join(each, ", "))
}

func round(r bench.Result, p float64) time.Duration {
	return r.Percentile(p).Round(10 * time.Microsecond)
}

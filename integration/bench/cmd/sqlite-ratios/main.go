// Command sqlite-ratios compares package sqlite with code by hand on the same
// driver. Rounds of all variants are interleaved, so that what else the machine
// does meets all of them; the medians and their ratios count.
//
//	go run ./bench/cmd/sqlite-ratios -rounds 5 -time 2s
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
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
	fmt.Println("| goroutines | variant | units/s (median) | min | max | p50 | p99 | worst | uow is |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, goroutines := range []int{1, 8, 32} {
		results := map[string][]bench.Result{}
		for range rounds {
			for _, v := range bench.SQLite() {
				r, err := once(v, goroutines, d, dir)
				if err != nil {
					return fmt.Errorf("%s with %d goroutines: %w", v.Name, goroutines, err)
				}
				results[v.Name] = append(results[v.Name], r)
			}
		}
		report(goroutines, results)
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

func report(goroutines int, results map[string][]bench.Result) {
	medians := map[string]bench.Result{}
	for name, rs := range results {
		slices.SortFunc(rs, func(a, b bench.Result) int {
			if a.Rate() < b.Rate() {
				return -1
			}
			return 1
		})
		medians[name] = rs[len(rs)/2]
	}
	for _, v := range bench.SQLite() {
		rs, m := results[v.Name], medians[v.Name]
		fmt.Printf("| %d | %s | %.0f | %.0f | %.0f | %v | %v | %v | %.2f |\n", goroutines, v.Name, m.Rate(), rs[0].Rate(), rs[len(rs)-1].Rate(),
			m.Percentile(0.5).Round(time.Microsecond), m.Percentile(0.99).Round(time.Microsecond), m.Percentile(1).Round(time.Microsecond),
			medians["uow"].Rate()/m.Rate())
	}
}

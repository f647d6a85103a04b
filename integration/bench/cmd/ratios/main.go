// Command ratios compares uow with code by hand and with other libraries, side by
// side in one run, and prints tables in Markdown.
//
//	cd integration && go run ./bench/cmd/ratios
//
// It needs a PostgreSQL and a MySQL or MariaDB server (-postgres, -mysql), on which it
// makes schemas and databases whose names begin with uow_bench_, and drops them; the
// parts about relays and consumers need a NATS server with JetStream (NATS_URL), and do
// the same with streams.
// A database that does not have at the end what was counted ends it with an error.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uow-go/uow/integration/bench"
)

type config struct {
	store, postgres, mysql, dir         string
	rounds, messages, consumed, backlog int
	time, delay                         time.Duration
	callers                             []int
}

func main() {
	var cfg config
	var callers string
	flag.StringVar(&cfg.store, "store", "all", "postgres, sqlite, mysql, tracking, relay, consume or all")
	flag.IntVar(&cfg.rounds, "rounds", 5, "rounds, in which all variants take turns; the median counts")
	flag.IntVar(&cfg.messages, "messages", 100_000, "messages that wait for relays")
	flag.IntVar(&cfg.consumed, "consumed", 4000, "messages that wait for consumers")
	flag.IntVar(&cfg.backlog, "backlog", 0, "only drain so many messages, such as 5000000, from PostgreSQL, and watch; 0: don't")
	flag.DurationVar(&cfg.time, "time", 500*time.Millisecond, "duration of one run")
	flag.StringVar(&callers, "callers", "1,8,32,256", "numbers of callers")
	flag.DurationVar(&cfg.delay, "delay", time.Millisecond, "round trip added to servers, beside runs without; 0: only these")
	flag.StringVar(&cfg.postgres, "postgres", "", "URL of PostgreSQL; default: POSTGRES_URL, else the server at 127.0.0.1:5432")
	flag.StringVar(&cfg.mysql, "mysql", "", "dsn of MySQL or MariaDB; default: MYSQL_DSN, else the server at 127.0.0.1:3306")
	flag.StringVar(&cfg.dir, "dir", os.TempDir(), "folder for SQLite's databases, on the disk to be measured")
	flag.Parse()
	for part := range strings.SplitSeq(callers, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || n > bench.MaxCallers {
			log.Fatalf("-callers: %q: want numbers from 1 to %d", part, bench.MaxCallers)
		}
		cfg.callers = append(cfg.callers, n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, cfg)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, cfg config) error {
	start := time.Now()
	if cfg.rounds < 1 {
		return fmt.Errorf("-rounds: want at least 1")
	}
	if cfg.backlog > 0 {
		return backlog(ctx, cfg)
	}
	prepared, err := prepare(ctx, cfg)
	defer func() {
		for _, p := range prepared {
			p.close()
		}
	}()
	if err != nil {
		return err
	}
	codec, err := bench.CodecAllocs()
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d interleaved rounds of %v, %d processors, %s; the codec's allocations are %.0f of each unit's.\n",
		start.UTC().Format(time.DateOnly), cfg.rounds, cfg.time, runtime.GOMAXPROCS(0), runtime.Version(), codec)
	var ran []*bench.Comparison
	for _, p := range prepared {
		if err := p.run(ctx, cfg.rounds); err != nil {
			return err
		}
		ran = append(ran, p.comparisons...)
	}
	bench.ReportMarks(os.Stdout, slices.Concat(bench.Marks(codec), bench.RelayMarks(), bench.ConsumeMarks()), ran)
	fmt.Printf("\nIt took %v.\n", time.Since(start).Round(time.Second))
	return nil
}

// prepare finds the servers before anything runs.
func prepare(ctx context.Context, cfg config) (plans []*plan, err error) {
	known := map[string]func(context.Context, config) (*plan, error){
		"postgres": postgres, "sqlite": sqlite, "mysql": mysql, "tracking": tracking, "relay": relay,
		"consume": consume,
	}
	names := []string{cfg.store}
	if cfg.store == "all" {
		names = []string{"postgres", "mysql", "sqlite", "tracking", "relay", "consume"}
	}
	for _, name := range names {
		plan, ok := known[name]
		if !ok {
			return plans, fmt.Errorf("-store: %q: want postgres, sqlite, mysql, tracking, relay, consume or all", name)
		}
		p, err := plan(ctx, cfg)
		if err != nil {
			return plans, err
		}
		plans = append(plans, p)
	}
	return plans, nil
}

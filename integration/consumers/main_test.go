package consumers_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

var (
	rounds   = flag.Int("rounds", 6, "how often one or both are killed, for each broker")
	seedFlag = flag.Uint64("seed", 0, "the seed of chance; 0 for a new one")
)

// child are the variables of a process that produces or consumes: which, the broker, its
// address, the name of what is published to, and the database.
const child = "UOW_CONSUMERS_CHILD"

func TestMain(m *testing.M) {
	args := os.Getenv(child)
	if args == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := beChild(ctx, strings.Split(args, "\n")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func beChild(ctx context.Context, args []string) error {
	role, database := args[0], args[4]
	b, err := brokerNamed(args[1], args[2], args[3])
	if err != nil {
		return err
	}
	if role == "produce" {
		return produce(ctx, b, database)
	}
	return consume(ctx, b, database)
}

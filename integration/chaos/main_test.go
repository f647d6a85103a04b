package chaos_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/servers"
)

var (
	local servers.Local

	seedFlag       = flag.Uint64("seed", 0, "the seed of chance; 0 for a new one")
	cutRounds      = flag.Int("cut.rounds", 1, "how often TestCuts goes through all messages")
	failoverRounds = flag.Int("failover.rounds", 2, "how many primaries TestFailover kills")
	opposite       = flag.Duration("opposite", 0, "for how long TestOppositeOrder runs; 0 for a fixed number of units")
	histories      = flag.Int("histories", 3, "how many histories TestStrictSerializability checks for each store")
)

func TestMain(m *testing.M) {
	code := m.Run()
	local.Close()
	os.Exit(code)
}

// chance returns a source of chance, and says how to have the same again.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// until asks again and again until the answer is yes; a test that waits for a
// minute has failed.
func until(t testing.TB, what string, yes func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !yes() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s: it never was", what)
		}
	}
}

// noGoroutineLeft demands at the test's end, after all else was cleaned up, that no
// more goroutines run than now.
func noGoroutineLeft(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		defer func() {
			if t.Failed() {
				stacks := make([]byte, 1<<20)
				t.Logf("%s", stacks[:runtime.Stack(stacks, true)])
			}
		}()
		until(t, "no more goroutines than before", func() bool { return runtime.NumGoroutine() <= before })
	})
}

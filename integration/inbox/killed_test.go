package inbox_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/integration/internal/stores"
)

// batch is how many messages there are in a round.
const batch = 24

// TestP24_KilledInTheHandler lets two processes handle the same messages at once, and
// kills both at moments of chance, most of them while handlers run. Then all messages
// are delivered once more. Each has taken effect once, and has one mark; what was
// acknowledged before the kill is a duplicate then. With BeforeHandling no message was
// being handled twice at the same time.
func TestP24_KilledInTheHandler(t *testing.T) {
	if task := os.Getenv(taskVariable); task != "" {
		work(t, task)
		return
	}
	for _, s := range stores.All(&local) {
		if s.Name != "sqlite" && s.Name != "postgres" {
			continue
		}
		for _, claim := range []inbox.Claim{inbox.BeforeHandling, inbox.AtCommit} {
			t.Run(s.Name+"/"+claimName(claim), func(t *testing.T) { killRounds(t, s, claim) })
		}
	}
}

func killRounds(t *testing.T, s stores.Store, claim inbox.Claim) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))

	shop, locks := openShop(t, s, claim, ""), t.TempDir()
	inHandlers, acknowledged := 0, 0
	for round := range *rounds {
		var workers []*worker
		for range 2 {
			workers = append(workers, startWorker(t, s, shop.Name, locks, claim, round, 1+chance.IntN(2*batch)))
		}
		for _, w := range workers {
			w.wait(t)
			inHandlers += len(w.open)
			acknowledged += len(w.done)
		}
		for i := range batch {
			id := messageID(round, i)
			duplicate := shop.deliver(t, id)
			for _, w := range workers {
				if w.done[id] && !duplicate {
					t.Errorf("message %s was acknowledged, and handled again", id)
				}
			}
		}
	}
	shop.check(t, *rounds*batch)
	t.Logf("%d rounds: processes died in %d handlers, after %d acknowledgements", *rounds, inHandlers, acknowledged)
	if inHandlers == 0 && *rounds >= 10 {
		t.Error("no process was killed in a handler: nothing was proven")
	}
}

func messageID(round, i int) string { return fmt.Sprintf("%d-%d", round, i) }

func claimName(c inbox.Claim) string {
	return map[inbox.Claim]string{inbox.BeforeHandling: "BeforeHandling", inbox.AtCommit: "AtCommit"}[c]
}

// parseTask is the other side of startWorker.
func parseTask(t *testing.T, task string) (store, name string, claim inbox.Claim, round int) {
	t.Helper()
	fields := strings.SplitN(task, " ", 4)
	if len(fields) != 4 {
		t.Fatalf("task %q", task)
	}
	var c int
	if _, err := fmt.Sscan(fields[0], &c); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(fields[1], &round); err != nil {
		t.Fatal(err)
	}
	return fields[2], fields[3], inbox.Claim(c), round
}

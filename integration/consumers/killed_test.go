package consumers_test

import (
	"bufio"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/outbox"
)

// TestP24_KilledConsumers lets one process commit events and relay them, and kills the
// other, which consumes them, at moments of chance. In the end the effects are compared
// with the outbox.
func TestP24_KilledConsumers(t *testing.T) {
	for _, kind := range []string{"nats", "rabbitmq", "redis", "kafka"} {
		t.Run(kind, func(t *testing.T) {
			seed := *seedFlag
			if seed == 0 {
				seed = rand.Uint64()
			}
			t.Logf("-seed %d", seed)
			killConsumers(t, findBroker(t, kind), rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

func killConsumers(t *testing.T, b broker, chance *rand.Rand) {
	dir := t.TempDir()
	bank, shop := filepath.Join(dir, "bank.db"), filepath.Join(dir, "shop.db")
	producer := start(t, b, "produce", bank)
	producer.until(t, "the producer", func(said []string) bool { return slices.Contains(said, "produced") })

	const events = units - units/5
	inHandlers, gaps := 0, 0
	done := map[string]bool{}
	for round := range *rounds + 1 {
		c, more := start(t, b, "consume", shop), 1+chance.IntN(2*events/(*rounds+1))
		c.until(t, "the consumer", func(said []string) bool {
			if round < *rounds {
				return len(said) >= more
			}
			fresh := 0
			for _, line := range said {
				if id, ok := strings.CutPrefix(line, "done "); ok && !done[id] {
					fresh++
				}
			}
			return len(done)+fresh >= events
		})
		if round < *rounds {
			c.end(t, os.Kill)
		} else {
			c.end(t, syscall.SIGTERM)
		}
		open := map[string]bool{}
		for _, line := range c.lines() {
			what, id, _ := strings.Cut(line, " ")
			switch what {
			case "handling":
				open[id] = true
			case "done":
				delete(open, id)
				done[id] = true
			case "gap":
				gaps++
			case "failed":
				t.Errorf("an event was refused: %s", id)
			}
		}
		inHandlers += len(open)
	}
	producer.end(t, syscall.SIGTERM)
	t.Logf("%d processes died in %d handlers; %d events came too early", *rounds, inHandlers, gaps)
	if gaps > 0 {
		t.Errorf("events came before those that they follow %d times, with one consumer", gaps)
	}
	compare(t, bank, shop, events)
}

// compare demands that the effects are those of the outbox, once and in order.
func compare(t *testing.T, bank, shop string, events int) {
	ctx := t.Context()
	from, _, err := openBank(ctx, bank)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	log, err := outbox.Of(from)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for after := int64(0); ; {
		batch, next, err := log.Scan(ctx, outbox.Query{After: after, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range batch {
			want[m.AggregateID] = append(want[m.AggregateID], m.ID)
		}
		if next == after {
			break
		}
		after = next
	}
	to, records, journals, err := openShop(ctx, shop)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	n := 0
	err = to.View(ctx, func(ctx context.Context, v *uow.View) error {
		for j, err := range journals.From(v).All(ctx, uow.Query{}) {
			if err != nil {
				return err
			}
			n += len(j.Events)
			if !slices.Equal(j.Events, want[j.ID]) {
				t.Errorf("account %s has the effects of %v; its events are %v", j.ID, j.Events, want[j.ID])
			}
		}
		return nil
	})
	marks, _, countErr := records.Count(ctx, to, "shop")
	if err != nil || countErr != nil || n != events || marks != events || len(want) != accounts {
		t.Errorf("of %d events of %d accounts %d have effects, and %d marks; %v, %v", events, len(want), n, marks, err, countErr)
	}
	if _, _, err := records.List(ctx, to, inbox.Filter{Consumer: "shop", Limit: 1}); err != nil {
		t.Error(err)
	}
}

// process is one that says what it does.
type process struct {
	cmd   *exec.Cmd
	read  chan struct{} // closed when it has said its last
	heard chan struct{} // full when it has said something

	mu   sync.Mutex
	said []string
}

func start(t *testing.T, b broker, role, database string) *process {
	t.Helper()
	p := &process{read: make(chan struct{}), heard: make(chan struct{}, 1)}
	p.cmd = exec.CommandContext(t.Context(), os.Args[0])
	p.cmd.Env = append(os.Environ(), child+"="+strings.Join([]string{role, b.kind, b.address, b.name, database}, "\n"))
	if testing.Verbose() {
		p.cmd.Stderr = os.Stderr
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.read)
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil { // what is cut off was not said
				return
			}
			p.mu.Lock()
			p.said = append(p.said, strings.TrimSpace(line))
			p.mu.Unlock()
			select {
			case p.heard <- struct{}{}:
			default:
			}
		}
	}()
	return p
}

func (p *process) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.said)
}

// until waits for what a process says.
func (p *process) until(t *testing.T, who string, enough func(said []string) bool) {
	t.Helper()
	late := time.NewTimer(2 * time.Minute)
	defer late.Stop()
	for !enough(p.lines()) {
		select {
		case <-p.heard:
		case <-p.read:
			if !enough(p.lines()) {
				t.Fatalf("%s has ended: %v", who, p.cmd.Wait())
			}
		case <-late.C:
			t.Fatalf("%s does not come to an end; it has said %d lines", who, len(p.lines()))
		}
	}
}

// end ends a process, and waits for that.
func (p *process) end(t *testing.T, by os.Signal) {
	t.Helper()
	_ = p.cmd.Process.Signal(by)
	<-p.read
	if err := p.cmd.Wait(); err != nil && by != os.Kill {
		t.Errorf("a process ended with %v", err)
	}
}

package crash_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", to check the database file

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

// world is a tocsin with targets that flap and receivers that misbehave.
type world struct {
	home      *tocsintest.Home
	exporters []*tocsintest.Exporter
	receivers map[string]*tocsintest.Receiver
	chance    *chance
}

// chance is a source of random numbers for many goroutines.
type chance struct {
	mu sync.Mutex
	r  *rand.Rand
}

// newChance tells the seed, by which a run can be made again, as far as the
// scheduling of processes allows.
func newChance(t *testing.T) *chance {
	seed := number[uint64](t, "seed")
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return &chance{r: rand.New(rand.NewPCG(seed, 0))}
}

func (c *chance) below(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.IntN(n)
}

func (c *chance) between(a, b time.Duration) time.Duration {
	return a + time.Duration(c.below(int(b-a)))
}

// rules have every way for an alert to begin and to end.
const rules = `
	- alert: Now
	  expr: level > 0
	  annotations: {summary: 'room {{ $labels.room }} at {{ $value }}'}
	- {alert: Soon, expr: level > 0, for: 600ms}
	- {alert: Sticky, expr: level > 0, keep_firing_for: 600ms}
	- {alert: Both, expr: level > 0, for: 300ms, keep_firing_for: 900ms}
`

func rooms() []string {
	return []string{`level{room="1"}`, `level{room="2"}`, `level{room="3"}`}
}

func newWorld(t *testing.T, home *tocsintest.Home, c *chance) *world {
	t.Helper()
	w := &world{home: home, chance: c, receivers: map[string]*tocsintest.Receiver{
		"erratic": tocsintest.NewReceiver(t),
		"steady":  tocsintest.NewReceiver(t),
	}}
	setup := tocsintest.Setup{Scrape: "200ms", Evaluate: "300ms", Rules: rules}
	for range 2 {
		e := tocsintest.NewExporter(t)
		w.exporters = append(w.exporters, e)
		setup.Targets = append(setup.Targets, e.Address)
		for _, room := range rooms() {
			e.Set(room, 0)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.receivers)) {
		setup.Destinations = append(setup.Destinations,
			fmt.Sprintf("{name: %s, type: webhook, timeout: 500ms, url: '%s'}", name, w.receivers[name].URL))
	}
	home.Configure(t, setup)
	w.receivers["erratic"].AnswerBy(func(tocsintest.Request) tocsintest.Answer {
		return []tocsintest.Answer{
			tocsintest.OK, tocsintest.OK, tocsintest.OK, tocsintest.OK, tocsintest.OK, tocsintest.OK,
			tocsintest.Slow, tocsintest.Slow, tocsintest.Late, tocsintest.Silent, tocsintest.Fail, tocsintest.Dropped,
		}[c.below(12)]
	})
	return w
}

// flap flips a series now and then, and a target's health more rarely, until
// stop is called.
func (w *world) flap(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(150 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			e := w.exporters[w.chance.below(len(w.exporters))]
			e.Flip(rooms()[w.chance.below(len(rooms()))])
			switch w.chance.below(25) {
			case 0:
				e.Behave(tocsintest.Failing)
			case 1, 2, 3, 4:
				e.Behave(tocsintest.Healthy)
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// heal makes everything well: no alert has a reason any more, and every receiver
// takes what it gets.
func (w *world) heal() {
	for _, e := range w.exporters {
		e.Behave(tocsintest.Healthy)
		for _, room := range rooms() {
			e.Set(room, 0)
		}
	}
	for _, r := range w.receivers {
		r.AnswerAll(tocsintest.OK)
	}
}

// settle waits until no alert is active and everything has been delivered.
func (w *world) settle(t *testing.T) {
	t.Helper()
	tocsintest.Eventually(t, "no alert is active", func() error {
		history, err := tocsintest.ReadHistory(w.home.Database())
		for _, a := range history.Alerts {
			if a.State != "inactive" {
				err = errors.Join(err, fmt.Errorf("alert %s is %s", a.ID, a.State))
			}
		}
		return err
	})
	w.home.WaitDeliveredWithin(t, 3*time.Minute) // a retry may be a minute away
}

// check compares the three sides, and counts.
func (w *world) check(t *testing.T) {
	t.Helper()
	history := w.home.History(t)
	received := map[string][]tocsintest.Request{}
	requests := 0
	for name, r := range w.receivers {
		received[name] = r.Requests()
		requests += len(received[name])
	}
	outcomes := map[string]int{}
	for _, a := range history.Attempts {
		outcomes[a.Outcome]++
	}
	notifying := 0
	for _, transition := range history.Transitions {
		if transition.Notifies() {
			notifying++
		}
	}
	t.Logf("%d transitions, %d of them to tell; %d notifications, %d attempts %v, %d requests received, %d gaps",
		len(history.Transitions), notifying, len(history.Deliveries), len(history.Attempts), outcomes, requests, len(history.Gaps))
	if problems := tocsintest.Check(history, received); len(problems) > 0 {
		t.Errorf("%d problems:\n%s", len(problems), strings.Join(problems, "\n"))
	}
	if notifying < 20 {
		t.Errorf("%d transitions to tell of: too few to show anything", notifying)
	}
	integrity(t, w.home.Database())
}

// integrity asks SQLite whether the file is whole.
func integrity(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var answer string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&answer); err != nil || answer != "ok" {
		t.Errorf("the database is not whole: %s, %v", answer, err)
	}
}

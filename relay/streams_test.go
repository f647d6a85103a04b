package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// events appends the next events of aggregates, in one unit. The destination takes their
// sequences for the numbers of their keys.
func (f *fixture) events(ids ...string) {
	f.t.Helper()
	messages := make([]outbox.Message, len(ids))
	for i, id := range ids {
		m := f.message("accounts/" + id)
		m.ID, m.Topic, m.AggregateType, m.AggregateID = fmt.Sprint(id, "-", f.next[m.Key]), "accounts", "accounts", id
		m.Sequence = int64(f.next[m.Key])
		messages[i] = m
	}
	f.append(messages...)
}

// robbedLog is a log from which messages were deleted by hand.
type robbedLog struct {
	outbox.Log
	mu   sync.Mutex
	gone []string
}

func (l *robbedLog) rob(ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = ids
}

func (l *robbedLog) Scan(ctx context.Context, query outbox.Query) (messages []outbox.Message, next int64, err error) {
	messages, next, err = l.Log.Scan(ctx, query)
	l.mu.Lock()
	defer l.mu.Unlock()
	messages = slices.DeleteFunc(messages, func(m outbox.Message) bool { return slices.Contains(l.gone, m.ID) })
	return messages, next, err
}

// disorders is an observer that remembers only those, and a logger's output.
type disorders struct {
	observer
	found []string
	log   bytes.Buffer
}

func (d *disorders) Disordered(found relay.Disorder) {
	kind := fmt.Sprintf("%d missing", found.Missing())
	if found.Late() {
		kind = "late"
	}
	d.found = append(d.found, fmt.Sprintf("%s after %d: %s", found.Message.ID, found.Last, kind))
}

func (d *disorders) watch(cfg relay.Config) relay.Config {
	cfg.Observer, cfg.Logger = d, slog.New(slog.NewTextHandler(&d.log, nil))
	return cfg
}

func (d *disorders) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(d.found, want) {
		t.Errorf("the observer was told of the disorders %q, want %q", d.found, want)
	}
}

// wantWarnings demands that the log warns of disorder, and what the warnings say.
func (d *disorders) wantWarnings(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(d.log.String()) {
		if strings.Contains(line, "not the next of its stream") {
			got = append(got, line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %d warnings, want %d:\n%s", len(got), len(want), strings.Join(got, ""))
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("warning %d is %s, want %q in it", i+1, got[i], want[i])
		}
	}
}

func TestP22_MessageDeletedByHandIsNoticed(t *testing.T) {
	for _, cfg := range []relay.Config{{BatchSize: 2}, {Partitions: 4}, {Topics: []string{"accounts"}}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			log := &robbedLog{Log: f.log}
			cfg.Log = log
			var seen disorders
			f.events("a", "b", "a", "b", "a", "b")
			log.rob("a-2")
			f.run(seen.watch(cfg))
			pass(time.Minute)
			seen.want(t, "a-3 after 1: 1 missing")
			wantOrder(t, "the key of which nothing is missing", f.to.numbers("accounts/b"), 3)
			if got := f.to.numbers("accounts/a"); !slices.Equal(got, []int{1, 3}) {
				t.Errorf("of the key of which one is missing %v were published, want 1 and 3", got)
			}
			seen.wantWarnings(t, "stream=accounts/a sequence=3 last=1 late=false missing=1 others=0")
		})
	}
}

// What goes back is late, until the stream is further than it was.
func TestStreamThatGoesBackIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var seen disorders
		f.run(seen.watch(relay.Config{Partitions: 2}))
		f.events("a", "a", "a", "a")
		pass(time.Second)
		f.next["accounts/a"] = 2 // its row was restored
		f.events("a", "a", "a")
		pass(time.Second)
		seen.want(t, "a-3 after 4: late", "a-4 after 4: late")
	})
}

func TestDisordersAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var seen disorders
		log := &robbedLog{Log: f.log}
		log.rob("a-2", "b-2", "c-2", "a-4", "a-6")
		f.run(seen.watch(relay.Config{Log: log}))
		f.events("a", "b", "c", "a", "b", "c", "a", "b", "c", "a", "a")
		pass(time.Second)
		seen.wantWarnings(t, "stream=accounts/a sequence=3")
		pass(2 * time.Minute)
		f.events("a", "a")
		pass(time.Second)
		seen.wantWarnings(t, "stream=accounts/a sequence=3 last=1 late=false missing=1 others=0",
			"stream=accounts/a sequence=7 last=5 late=false missing=1 others=3")
		if len(seen.found) != 5 {
			t.Errorf("the observer was told of %q, want all 5", seen.found)
		}
	})
}

// Nothing of this is disorder: what is read again, published again, tried again, replayed,
// or passed by another relay and trimmed.
func TestWhatIsRepeatedIsNoDisorder(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			var seen disorders
			tries := 0
			var mu sync.Mutex
			f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
				mu.Lock()
				defer mu.Unlock()
				tries++
				switch {
				case tries%7 == 3:
					return relay.Result{Outcome: relay.Unavailable, Err: errors.New("away")}
				case tries%5 == 2:
					return relay.Result{Outcome: relay.Retry, Err: errors.New("busy")}
				}
				return relay.Result{Outcome: relay.Stored}
			})
			cfg := seen.watch(relay.Config{Partitions: partitions, BatchSize: 3})
			r := f.run(cfg)
			for range 20 {
				f.events("a", "b", "c", "a", "b", "c", "a")
			}
			pass(time.Hour)
			if n, err := f.log.Replay(t.Context(), "default", []int64{1, 2, 3, 4, 5, 6, 7}); n != 7 || err != nil {
				t.Fatalf("Replay returned %d, %v, want 7 messages", n, err)
			}
			pass(time.Hour)
			r.stop()
			f.run(cfg)
			f.events("a", "b", "c")
			pass(time.Hour)
			wantOrder(t, "key a", f.to.numbers("accounts/a"), 61)
			if len(f.to.arrivals()) <= 143 {
				t.Error("nothing was published twice: the replay did nothing")
			}
			seen.want(t)
		})
	}
}

// A relay that was paused finds that another one has passed what is trimmed by now: of a
// gap that it has read by itself nobody is told.
func TestPassedByAnotherRelayIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.events("a", "a")
		var seen, others disorders
		asleep := &robbedLog{Log: f.log}
		paused := f.run(seen.watch(relay.Config{Log: asleep}))
		pass(time.Second)
		asleep.rob("a-3") // which is trimmed while it sleeps
		f.run(others.watch(relay.Config{}))
		synctest.Wait()
		f.events("a", "a")
		pass(time.Second)
		<-paused.ended
		if !errors.Is(paused.err, relay.ErrLeaseLost) {
			t.Fatalf("the relay that was paused ended with %v, want ErrLeaseLost", paused.err)
		}
		seen.want(t)
		others.want(t)
		if last := f.to.arrivals(); len(last) != 5 {
			t.Errorf("%v were published, want a-4 twice: the relay that was paused has not read the gap", last)
		}
	})
}

package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

func TestP20_NothingIsPublishedBeforeItsCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.run(relay.Config{})
		u, other := f.db.Begin(), f.db.Begin()
		for _, u := range []*uow.Unit{u, other} {
			if err := outbox.Append(u, f.message("a")); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Hour)
		wantIDs(t, "before the commit", f.to.arrivals())
		if err := other.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		wantIDs(t, "after a rollback", f.to.arrivals())
		if err := u.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantIDs(t, "after the commit", f.to.arrivals(), "a-1")
	})
}

func TestP20_CommitWakesTheRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.run(relay.Config{PollInterval: time.Hour})
		synctest.Wait()
		for range 10 {
			began := time.Now()
			f.commit("a", "b")
			synctest.Wait()
			if waited := time.Since(began); waited != 0 {
				t.Fatalf("delivery took %v of virtual time, want none", waited)
			}
		}
		wantOrder(t, "a", f.to.numbers("a"), 10)
		wantOrder(t, "b", f.to.numbers("b"), 10)
	})
}

// A commit of another process wakes nobody.
func TestP20_PollFindsWhatNobodyAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.run(relay.Config{Log: deaf{f.log}, PollInterval: time.Minute})
		synctest.Wait()
		f.commit("a")
		synctest.Wait()
		wantIDs(t, "at once", f.to.arrivals())
		pass(72 * time.Second)
		wantIDs(t, "after the longest interval", f.to.arrivals(), "a-1")
	})
}

type deaf struct{ outbox.Log }

func (deaf) Subscribe(func(bool)) func() { return func() {} }

func TestHappyPathIsOneScanAndOneSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		log := &faultyLog{Log: f.log}
		f.run(relay.Config{Log: log, PollInterval: time.Hour})
		synctest.Wait()
		log.counts()
		for range 3 {
			keys := make([]string, 200)
			for i := range keys {
				keys[i] = fmt.Sprint(i % 50)
			}
			f.commit(keys...)
			synctest.Wait()
			if got, want := log.counts(), "map[scan:1 settle:1]"; got != want {
				t.Errorf("a batch of 200 messages cost %s, want %s", got, want)
			}
		}
	})
}

// What is committed within the pace is published together, and what comes alone at once.
func TestPace(t *testing.T) {
	t.Run("one partition", func(t *testing.T) { testPace(t, 1) })
	t.Run("two partitions", func(t *testing.T) { testPace(t, 2) })
}

func testPace(t *testing.T, partitions int) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		to := &sizes{}
		f.run(relay.Config{Publisher: to, PollInterval: time.Hour, Pace: 10 * time.Millisecond, BatchSize: 8, Partitions: partitions})
		pass(time.Second)
		f.commit("a")
		synctest.Wait()
		want := "[1]"
		if got := to.String(); got != want {
			t.Errorf("at once: got batches of %s, want %s", got, want)
		}
		for range 5 {
			sleep(time.Millisecond)
			f.commit("a")
		}
		sleep(10 * time.Millisecond)
		if got, want := to.String(), "[1 5]"; got != want {
			t.Errorf("meanwhile: got batches of %s, want %s", got, want)
		}
		pass(time.Second)
		f.commit(slices.Repeat([]string{"a"}, 12)...)
		synctest.Wait()
		if got, want := to.String(), "[1 5 8 4]"; got != want {
			t.Errorf("a backlog: got batches of %s, want %s", got, want)
		}
	})
}

// sizes is a publisher that notes how large batches are.
type sizes struct {
	mu  sync.Mutex
	all []int
}

func (s *sizes) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.all)
}

func (s *sizes) Publish(_ context.Context, batch []outbox.Message) []relay.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, len(batch))
	results := make([]relay.Result, len(batch))
	for i := range results {
		results[i].Outcome = relay.Stored
	}
	return results
}

// For every k: k of n messages are acknowledged when the relay dies. The next one
// delivers the others, and all that was forgotten had been acknowledged.
func TestP20_KOfNAcknowledgedThenDead(t *testing.T) {
	const n = 8
	for k := range n + 1 {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				for range n {
					f.commit("a")
				}
				log := &faultyLog{Log: f.log, fault: func(op string) (error, error) {
					if op == "settle" {
						return errors.New("dead"), nil
					}
					return nil, nil
				}}
				acknowledged := 0
				f.to.set(func(ctx context.Context, m outbox.Message) relay.Result {
					if acknowledged == k {
						<-ctx.Done()
						return relay.Result{Outcome: relay.Unknown, Err: ctx.Err()}
					}
					acknowledged++
					return relay.Result{Outcome: relay.Stored}
				})
				first := f.run(relay.Config{Log: log})
				synctest.Wait()
				if err := first.end(); err == nil {
					t.Error("Run returned nil though nothing could be recorded")
				}
				wantOrder(t, "before", f.to.numbers("a"), k)
				f.to.set(nil)
				f.run(relay.Config{})
				synctest.Wait()
				wantOrder(t, "after", f.to.numbers("a"), n)
			})
		})
	}
}

// The same with a log that works: what was acknowledged is not sent again.
func TestP20_KOfNAcknowledgedThenClosed(t *testing.T) {
	const n = 8
	for k := range n + 1 {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				for range n {
					f.commit("a")
				}
				acknowledged := 0
				f.to.set(func(ctx context.Context, m outbox.Message) relay.Result {
					if acknowledged == k {
						<-ctx.Done()
						return relay.Result{Outcome: relay.Retry, Err: ctx.Err()}
					}
					acknowledged++
					return relay.Result{Outcome: relay.Stored}
				})
				first := f.run(relay.Config{})
				synctest.Wait()
				first.stop()
				f.to.set(nil)
				f.run(relay.Config{})
				pass(time.Second)
				wantOrder(t, "a", f.to.numbers("a"), n)
				if got := len(f.to.arrivals()); got != n {
					t.Errorf("%d arrivals, want %d: what was acknowledged came again", got, n)
				}
			})
		})
	}
}

func TestRunSurvivesALogThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var calls atomic.Int64
		r := f.run(relay.Config{Log: &faultyLog{Log: f.log, fault: func(op string) (error, error) {
			switch calls.Add(1) % 3 {
			case 0:
				return errors.New("before"), nil
			case 1:
				return nil, errors.New("after")
			}
			return nil, nil
		}}})
		for range 20 {
			f.commit("a", "b")
			pass(time.Second)
		}
		pass(time.Minute)
		wantOrder(t, "a", f.to.numbers("a"), 20)
		if n := len(f.to.arrivals()); n != 40 {
			t.Errorf("%d arrivals, want 40: a Settle that was repeated made duplicates", n)
		}
		r.stop()
	})
}

func TestRunsOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		r := f.run(relay.Config{})
		synctest.Wait()
		if err := r.Run(t.Context()); !errors.Is(err, relay.ErrRunning) {
			t.Errorf("a second Run returned %v, want ErrRunning", err)
		}
		r.stop()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Run(ctx); err != nil {
			t.Errorf("Run after Run returned %v, want nil", err)
		}
	})
}

func TestTopicsAreSelectedAndTheCursorMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.run(relay.Config{Topics: []string{"t"}, BatchSize: 2})
		for i := range 20 {
			m := f.message("a")
			if i%5 != 0 {
				m.Topic, m.Payload = "other", []byte("x")
			}
			f.append(m)
		}
		synctest.Wait()
		wantIDs(t, "arrivals", f.to.arrivals(), "a-1", "a-6", "a-11", "a-16")
		pass(time.Minute)
		if c := f.cursor(); c.Position != 20 {
			t.Errorf("the cursor is at %d, want 20: what is not selected is passed", c.Position)
		}
	})
}

func TestTrimKeepsWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(fail("bad", relay.Refused))
		f.run(relay.Config{Retention: time.Hour})
		for range 3000 {
			f.commit("good")
		}
		f.commit("bad", "bad")
		pass(3 * time.Hour)
		stats, err := f.log.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stats.Messages != 2 {
			t.Errorf("the log has %d messages after their retention, want the 2 that are held", stats.Messages)
		}
	})
}

func TestConfigIsValidated(t *testing.T) {
	f := newFixture(t)
	publisher := relay.Each(f.to.take, 1)
	good := relay.Config{Log: f.log, Publisher: publisher}
	if _, err := relay.New(good); err != nil {
		t.Fatalf("New with the required fields only: %v", err)
	}
	for name, change := range map[string]func(*relay.Config){
		"Log":               func(c *relay.Config) { c.Log = nil },
		"Publisher":         func(c *relay.Config) { c.Publisher = nil },
		"BatchSize":         func(c *relay.Config) { c.BatchSize = -1 },
		"Retries":           func(c *relay.Config) { c.Retries = -1 },
		"PollInterval":      func(c *relay.Config) { c.PollInterval = -1 },
		"PublishTimeout":    func(c *relay.Config) { c.PublishTimeout = -1 },
		"DrainTimeout":      func(c *relay.Config) { c.DrainTimeout = -1 },
		"Backoff.Min":       func(c *relay.Config) { c.Backoff.Min = -1 },
		"Backoff.Min > Max": func(c *relay.Config) { c.Backoff = relay.Backoff{Min: 2, Max: 1} },
		"Backoff.Factor":    func(c *relay.Config) { c.Backoff.Factor = 0.5 },
		"Backoff.Jitter":    func(c *relay.Config) { c.Backoff.Jitter = 1.5 },
	} {
		cfg := good
		change(&cfg)
		if _, err := relay.New(cfg); !errors.Is(err, relay.ErrConfig) {
			t.Errorf("%s: New returned %v, want ErrConfig", name, err)
		}
	}
}

func TestObserverIsToldWhatWasRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		attempts := 0
		f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
			attempts++
			switch attempts {
			case 1:
				return relay.Result{Outcome: relay.Retry, Err: errors.New("busy"), After: time.Minute}
			case 2:
				return relay.Result{Outcome: relay.Refused, Err: errors.New("never")}
			}
			return relay.Result{Outcome: relay.Stored}
		})
		var o observer
		f.run(relay.Config{Observer: &o})
		f.commit("a")
		pass(2 * time.Minute)
		f.commit("b")
		synctest.Wait()
		want := []string{"failed a-1 1 busy", "failed a-1 2 never", "parked a-1 never", "delivered b-1 0s"}
		if !slices.Equal(o, want) {
			t.Errorf("the observer was told %q, want %q", o, want)
		}
	})
}

type observer []string

func (o *observer) Delivered(m outbox.Message, lag time.Duration) {
	*o = append(*o, fmt.Sprintf("delivered %s %v", m.ID, lag))
}

func (o *observer) Failed(m outbox.Message, attempt int, r relay.Result) {
	*o = append(*o, fmt.Sprintf("failed %s %d %v", m.ID, attempt, r.Err))
}

func (o *observer) Parked(m outbox.Message, reason string) {
	*o = append(*o, fmt.Sprintf("parked %s %s", m.ID, reason))
}

func (o *observer) Disordered(d relay.Disorder) {
	*o = append(*o, fmt.Sprintf("disordered %s %d after %d", d.Message.ID, d.Message.Sequence, d.Last))
}

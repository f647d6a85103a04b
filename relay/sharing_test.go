package relay_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

const lease = 10 * time.Second

// teller counts what one of several relays delivers to the fixture's destination.
type teller struct {
	f *fixture
	n atomic.Int64
}

func (o *teller) take(ctx context.Context, m outbox.Message) relay.Result {
	r := o.f.to.take(ctx, m)
	if r.Outcome.Delivered() {
		o.n.Add(1)
	}
	return r
}

// member starts a relay that shares eight partitions.
func (f *fixture) member(cfg relay.Config) (*running, *teller) {
	f.t.Helper()
	told := &teller{f: f}
	cfg.Publisher = relay.Each(told.take, 4)
	cfg.Lease = lease
	if cfg.Partitions == 0 {
		cfg.Partitions = 8
	}
	return f.run(cfg), told
}

// traffic commits so many rounds of a message for each of 24 keys, and four without.
func (f *fixture) traffic(rounds int) {
	f.t.Helper()
	for range rounds {
		keys := []string{}
		for i := range 24 {
			keys = append(keys, fmt.Sprint("key", i))
		}
		f.commit(keys...)
		for range 4 {
			f.next["free"]++
			f.append(outbox.Message{ID: fmt.Sprint("free-", f.next["free"]), Topic: "t", Type: "Happened", Payload: []byte("0")})
		}
	}
}

// wantAll demands that everything has arrived, in order.
func (f *fixture) wantAll(when string) {
	f.t.Helper()
	for i := range 24 {
		key := fmt.Sprint("key", i)
		wantOrder(f.t, when+", "+key, f.to.numbers(key), f.next[key])
	}
	if got := len(f.to.numbers("")); got != f.next["free"] {
		f.t.Errorf("%s: of %d messages without a key %d have arrived", when, f.next["free"], got)
	}
}

func TestP21_RelaysShareThePartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		_, a := f.member(relay.Config{})
		f.traffic(3)
		pass(time.Second)
		f.wantAll("with one relay")
		if int(a.n.Load()) != len(f.to.arrivals()) {
			t.Errorf("one relay alone delivered %d of %d", a.n.Load(), len(f.to.arrivals()))
		}

		b, told := f.member(relay.Config{})
		pass(lease) // by then it has its share
		before := a.n.Load()
		f.traffic(10)
		pass(time.Second)
		f.wantAll("with two relays")
		if mine, theirs := told.n.Load(), a.n.Load()-before; mine < 50 || theirs < 50 {
			t.Errorf("of 280 messages the new relay delivered %d, and the old one %d", mine, theirs)
		}
		if n := len(f.to.arrivals()); n != 13*28 {
			t.Errorf("%d messages arrived, want %d: handing over repeats nothing", n, 13*28)
		}

		b.stop()
		pass(lease / 4) // much less than a lease: it has handed over
		before = a.n.Load()
		f.traffic(2)
		pass(0)
		f.wantAll("after one has stopped")
		if got := a.n.Load() - before; got != 56 {
			t.Errorf("the relay that is left delivered %d of 56", got)
		}
	})
}

// The log is out of reach of one relay, as when its host has died: another takes its
// partitions within a lease, and what it had under way repeats messages only.
func TestP21_AnotherTakesThePartitionsOfARelayThatDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		dead, down := atomic.Bool{}, errors.New("no route")
		log := &faultyLog{Log: f.log, fault: func(string) (error, error) {
			if dead.Load() {
				return down, nil
			}
			return nil, nil
		}}
		_, a := f.member(relay.Config{Log: log, PollInterval: time.Second})
		pass(lease)
		_, b := f.member(relay.Config{})
		pass(lease)
		f.traffic(4)
		pass(time.Second)
		f.wantAll("with both")
		if a.n.Load() == 0 || b.n.Load() == 0 {
			t.Errorf("one of both delivered nothing: %d and %d", a.n.Load(), b.n.Load())
		}
		dead.Store(true)
		pass(lease)
		f.traffic(2)
		pass(time.Second)
		f.wantAll("a lease after one has died")

		dead.Store(false) // it is back, has lost its leases, and gets its share again
		pass(2 * lease)
		before := a.n.Load()
		f.traffic(4)
		pass(time.Second)
		f.wantAll("after it has come back")
		if a.n.Load() == before {
			t.Error("the relay that came back delivers nothing")
		}
	})
}

// A relay is stopped for longer than its lease while it publishes. Another goes on;
// what arrives late is a repetition.
func TestP21_RelayPausedBeyondItsLeaseIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		resume, stopped := make(chan struct{}), atomic.Bool{}
		log := &faultyLog{Log: f.log, fault: func(string) (error, error) {
			if stopped.Load() {
				<-resume // as by SIGSTOP
			}
			return nil, nil
		}}
		paused := f.run(relay.Config{Log: log, Lease: lease, Partitions: 2, Publisher: relay.Each(func(ctx context.Context, m outbox.Message) relay.Result {
			if stopped.Load() {
				<-resume
			}
			return f.to.take(ctx, m)
		}, 1)})
		f.traffic(1)
		pass(time.Second)
		stopped.Store(true)
		f.traffic(2)
		pass(time.Second)
		f.member(relay.Config{Partitions: 2})
		pass(2 * lease)
		f.traffic(2)
		pass(time.Second)
		f.wantAll("while one is paused")
		before := f.cursor()
		stopped.Store(false)
		close(resume)
		pass(0)
		if after := f.cursor(); after.Position < before.Position || after.Retrying+after.Waiting+after.Parked > 0 {
			t.Errorf("the paused relay changed the cursor from %+v to %+v", before, after)
		}
		f.traffic(2)
		pass(2 * lease)
		f.wantAll("after it has woken up")
		paused.stop()
	})
}

// A standby of a single partition does nothing until the other stops.
func TestP21_OneWorksAndTheOthersStandBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var relays []*running
		for range 3 {
			r, _ := f.member(relay.Config{Partitions: 1})
			relays = append(relays, r)
		}
		pass(lease)
		for _, r := range relays {
			f.traffic(2)
			pass(time.Second)
			f.wantAll("with those that are left")
			r.stop()
			pass(lease / 4)
		}
		if got := len(f.to.arrivals()); got != 3*2*28 {
			t.Errorf("%d messages arrived, want %d: each once", got, 3*2*28)
		}
	})
}

// The clocks of the relays' processes are hours apart, and do not matter.
func TestP21_ClocksOfProcessesDoNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		at := func(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }
		f.member(relay.Config{Now: at(-5 * time.Hour)})
		f.member(relay.Config{Now: at(5 * time.Hour)})
		for range 5 {
			f.traffic(2)
			pass(lease)
		}
		f.wantAll("with clocks that differ")
		if got := len(f.to.arrivals()); got != 10*28 {
			t.Errorf("%d messages arrived, want %d: nobody has lost a lease", got, 10*28)
		}
	})
}

// A message that a relay holds is due by the database's clock: who takes over tries it
// no later because its own clock is behind.
func TestP23_HeldMessagesAreDueByTheDatabasesClock(t *testing.T) {
	for _, hours := range []time.Duration{5, -5} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			at := func(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }
			f.to.set(fail("a", relay.Retry))
			backoff := relay.Backoff{Min: time.Minute, Max: time.Minute}
			first := f.run(relay.Config{Now: at(hours * time.Hour), Backoff: backoff})
			f.commit("a", "a")
			synctest.Wait()
			first.stop()
			f.to.set(nil)
			f.run(relay.Config{Now: at(-hours * time.Hour), Backoff: backoff})
			due := f.held(outbox.HeldFilter{State: outbox.Retrying})[0].NextAt
			pass(time.Until(due) - time.Millisecond)
			wantIDs(t, "before it is due", f.to.arrivals())
			pass(time.Minute)
			wantIDs(t, "after that", f.to.arrivals(), "a-1", "a-2")
			if wait := time.Until(due); wait < -2*time.Minute {
				t.Errorf("it was due %v ago", -wait)
			}
		})
	}
}

// Keys are held in their partition, whoever has it.
func TestP23_HeldKeysMoveWithTheirPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(fail("key7", relay.Refused))
		a, _ := f.member(relay.Config{})
		f.traffic(2)
		pass(time.Second)
		f.member(relay.Config{})
		pass(lease)
		f.traffic(2)
		a.stop()
		pass(lease)
		wantIDs(t, "parked", f.heldIDs(outbox.Parked), "key7-1")
		wantIDs(t, "waiting", f.heldIDs(outbox.Waiting), "key7-2", "key7-3", "key7-4")
		f.to.set(nil)
		if n, err := f.log.Redrive(t.Context(), "default", f.positions(outbox.Parked)); n != 1 || err != nil {
			t.Fatalf("Redrive: %d, %v", n, err)
		}
		pass(lease)
		f.wantAll("after Redrive")
	})
}

func TestAnotherNumberOfPartitionsEndsTheRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		eight, _ := f.member(relay.Config{})
		pass(lease)
		wrong, _ := f.member(relay.Config{Partitions: 4})
		<-wrong.ended
		if !errors.Is(wrong.err, relay.ErrPartitions) {
			t.Errorf("a relay with another number returned %v, want ErrPartitions", wrong.err)
		}
		f.traffic(1)
		pass(time.Second)
		f.wantAll("beside a relay with another number")

		f.to.set(fail("key3", relay.Retry))
		f.traffic(1)
		pass(time.Second)
		if err := (outbox.Repartition{Cursor: "default", Partitions: 3}).Run(t.Context(), f.log); err != nil {
			t.Fatal(err)
		}
		<-eight.ended
		if !errors.Is(eight.err, relay.ErrPartitions) {
			t.Errorf("a relay of old partitions returned %v, want ErrPartitions", eight.err)
		}
		f.to.set(nil)
		f.member(relay.Config{Partitions: 3})
		f.traffic(2)
		pass(3 * lease)
		f.wantAll("with the new number")
	})
}

func TestP22_RelayStopsWhenTheDatabaseWasRestored(t *testing.T) {
	for name, takeOver := range map[string]bool{"shared": false, "taken over": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				cfg := relay.Config{Log: f.log}
				if !takeOver {
					cfg.Lease = lease
				}
				r := f.run(cfg)
				f.commit("a", "a", "a")
				pass(time.Second)
				wantOrder(t, "a", f.to.numbers("a"), 3)
				// As from a backup that was made after the first message: the cursor is
				// where it was then, with the lease of then.
				stats, err := f.log.Stats(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				owner := outbox.Lease{Cursor: "default", Partitions: 1, Epoch: stats.Cursors[0].Epoch, TTL: lease, Log: stats.Log}
				if err := f.log.Settle(t.Context(), owner, outbox.Settlement{Position: 1}); err != nil {
					t.Fatal(err)
				}
				<-r.ended // by a poll, without a message
				if !errors.Is(r.err, relay.ErrRestored) {
					t.Errorf("the relay returned %v, want ErrRestored", r.err)
				}
				again := f.run(relay.Config{})
				f.commit("a")
				pass(2 * lease)
				wantOrder(t, "a after a new start", f.to.numbers("a"), 4)
				again.stop()
			})
		})
	}
}

func TestP20_DelayedMessagesAreSentWhenTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		began := time.Now()
		arrived := map[string]time.Duration{}
		f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
			arrived[m.ID] = time.Since(began).Round(time.Millisecond)
			return relay.Result{Outcome: relay.Stored}
		})
		f.run(relay.Config{PollInterval: time.Hour})
		at := func(id string, d time.Duration) outbox.Message {
			return outbox.Message{ID: id, Topic: "t", Type: "Happened", Payload: []byte("0"), At: began.Add(d)}
		}
		f.append(at("in a minute", time.Minute), at("in ten seconds", 10*time.Second), at("in the past", -time.Hour))
		f.commit("a")
		pass(2 * time.Minute)
		if d := arrived["a-1"]; d != 0 {
			t.Errorf("a message that is not delayed came after %v", d)
		}
		for id, want := range map[string]time.Duration{"in the past": 0, "in ten seconds": 10 * time.Second, "in a minute": time.Minute} {
			got, ok := arrived[id]
			if !ok || got < want || got > max(want, time.Second) {
				t.Errorf("%q came after %v (%v), want %v", id, got, ok, want)
			}
		}
	})
}

// That another has taken a partition is no error of a relay that shares, also not at
// its end.
func TestLostPartitionIsNoErrorOfARelayThatShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(func(context.Context, outbox.Message) relay.Result {
			sleep(time.Second)
			return relay.Result{Outcome: relay.Stored}
		})
		r, _ := f.member(relay.Config{Partitions: 1})
		pass(time.Second)
		f.commit("a")
		synctest.Wait() // it is under way
		if _, err := f.log.Acquire(t.Context(), outbox.Claim{Cursor: "default", Owner: "other", TTL: time.Hour, Force: true}); err != nil {
			t.Fatal(err)
		}
		r.stop() // which demands nil
		if c := f.cursor(); c.Position != 0 {
			t.Errorf("the relay that has lost its lease moved the cursor to %d", c.Position)
		}
	})
}

package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

func TestP21_RetriesKeepTheOrderOfTheirKey(t *testing.T) {
	for _, outcome := range []relay.Outcome{relay.Retry, relay.Unknown} {
		t.Run(outcome.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.run(relay.Config{BatchSize: 3})
				f.to.set(fail("a", outcome))
				for range 10 {
					f.commit("a", "b")
				}
				synctest.Wait()
				wantOrder(t, "a while it fails", f.to.numbers("a"), 0)
				wantOrder(t, "b while a fails", f.to.numbers("b"), 10)
				wantIDs(t, "retrying", f.heldIDs(outbox.Retrying), "a-1")
				if n := len(f.heldIDs(outbox.Waiting)); n != 9 {
					t.Errorf("%d messages wait behind the one that is retried, want 9", n)
				}
				f.to.set(nil)
				pass(time.Minute)
				wantOrder(t, "a", f.to.numbers("a"), 10)
				if n := len(f.to.arrivals()); n != 20 {
					t.Errorf("%d arrivals, want 20", n)
				}
				if held := f.held(outbox.HeldFilter{}); len(held) != 0 {
					t.Errorf("the key is not free again: %+v", held)
				}
			})
		})
	}
}

func TestP23_PoisonAmongThousandParksOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		keys := make([]string, 1000)
		for i := range keys {
			keys[i] = fmt.Sprintf("k%03d", i)
		}
		f.to.set(fail("k500", relay.Retry))
		f.run(relay.Config{MaxAttempts: 5})
		for range 3 {
			f.commit(keys...)
		}
		synctest.Wait()
		for _, key := range keys {
			if want := 3; key != "k500" {
				wantOrder(t, key, f.to.numbers(key), want)
			}
		}
		pass(time.Hour)
		parked := f.held(outbox.HeldFilter{State: outbox.Parked})
		if len(parked) != 1 || parked[0].Message.ID != "k500-1" {
			t.Fatalf("parked are %+v, want k500-1 alone", parked)
		}
		if h := parked[0]; h.Attempts != 5 || h.Reason != "no" {
			t.Errorf("k500-1 was parked after %d attempts because of %q, want 5 and what the last answered", h.Attempts, h.Reason)
		}
		wantIDs(t, "waiting", f.heldIDs(outbox.Waiting), "k500-2", "k500-3")
		f.commit(keys...)
		synctest.Wait()
		wantIDs(t, "waiting later", f.heldIDs(outbox.Waiting), "k500-2", "k500-3", "k500-4")
		wantOrder(t, "k501", f.to.numbers("k501"), 4)
	})
}

func TestP23_RefusedIsParkedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(fail("a", relay.Refused))
		f.run(relay.Config{})
		f.commit("a", "b", "a")
		synctest.Wait()
		wantIDs(t, "arrivals", f.to.arrivals(), "b-1")
		wantIDs(t, "parked", f.heldIDs(outbox.Parked), "a-1")
		wantIDs(t, "waiting", f.heldIDs(outbox.Waiting), "a-2")
	})
}

func TestP23_RedriveGoesOnInOrder(t *testing.T) {
	for name, look := range map[string]func(*running){
		"woken":  func(r *running) { r.Wake() },
		"polled": func(r *running) { pass(2 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.to.set(fail("a", relay.Refused))
				r := f.run(relay.Config{PollInterval: time.Minute, BatchSize: 4})
				f.commit("a", "a", "a", "a", "a", "a", "b")
				synctest.Wait()
				f.to.set(nil)
				n, err := f.log.Redrive(t.Context(), "default", f.positions(outbox.Parked))
				if n != 1 || err != nil {
					t.Fatalf("Redrive returned %d, %v", n, err)
				}
				look(r)
				synctest.Wait()
				wantOrder(t, "a", f.to.numbers("a"), 6)
				if held := f.held(outbox.HeldFilter{}); len(held) != 0 {
					t.Errorf("still held: %+v", held)
				}
			})
		})
	}
}

func TestP23_RedrivenMessageHasItsAttemptsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		tries := 0
		f.to.set(func(context.Context, outbox.Message) relay.Result {
			tries++
			return relay.Result{Outcome: relay.Retry}
		})
		r := f.run(relay.Config{MaxAttempts: 3})
		f.commit("a")
		pass(time.Hour)
		for round := 2; round < 4; round++ {
			if _, err := f.log.Redrive(t.Context(), "default", f.positions(outbox.Parked)); err != nil {
				t.Fatal(err)
			}
			r.Wake()
			pass(time.Hour)
			if tries != 3*round {
				t.Errorf("%d attempts after Redrive, want %d", tries, 3*round)
			}
		}
		wantIDs(t, "parked", f.heldIDs(outbox.Parked), "a-1")
	})
}

func TestP23_DiscardLetsTheNextGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
			if m.ID == "a-1" || m.ID == "-1" {
				return relay.Result{Outcome: relay.Refused}
			}
			return relay.Result{Outcome: relay.Stored}
		})
		f.run(relay.Config{PollInterval: time.Minute})
		f.commit("a", "a", "a", "")
		synctest.Wait()
		if n, err := f.log.Discard(t.Context(), "default", f.positions(outbox.Parked)); n != 2 || err != nil {
			t.Fatalf("Discard returned %d, %v, want 2", n, err)
		}
		f.commit("a") // meets a key that the relay believes to be parked
		pass(2 * time.Minute)
		wantIDs(t, "arrivals", f.to.arrivals(), "a-2", "a-3", "a-4")
		if held := f.held(outbox.HeldFilter{}); len(held) != 0 {
			t.Errorf("still held: %+v", held)
		}
		f.commit("a")
		synctest.Wait()
		wantIDs(t, "arrivals", f.to.arrivals(), "a-2", "a-3", "a-4", "a-5")
	})
}

// An operator gives up a message while the relay is just trying it again.
func TestP23_DiscardDuringAnAttemptStays(t *testing.T) {
	for _, outcome := range []relay.Outcome{relay.Stored, relay.Retry, relay.Refused} {
		t.Run(outcome.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				tries := 0
				f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
					if m.ID != "a-1" {
						return relay.Result{Outcome: relay.Stored}
					}
					if tries++; tries == 1 {
						return relay.Result{Outcome: relay.Retry}
					}
					sleep(10 * time.Second)
					return relay.Result{Outcome: outcome}
				})
				f.run(relay.Config{Backoff: relay.Backoff{Min: time.Second, Jitter: -1}})
				f.commit("a", "a")
				pass(5 * time.Second)
				if n, err := f.log.Discard(t.Context(), "default", f.positions(outbox.Retrying)); n != 1 || err != nil {
					t.Fatalf("Discard returned %d, %v", n, err)
				}
				pass(time.Minute)
				if held := f.held(outbox.HeldFilter{}); len(held) != 0 {
					t.Errorf("a discarded message, or the one behind it, is held: %+v", held)
				}
				if tries != 2 {
					t.Errorf("%d attempts of a message that was discarded during the second", tries)
				}
				if got := f.to.arrivals(); len(got) == 0 || got[len(got)-1] != "a-2" {
					t.Errorf("arrivals are %v, want a-2 at the end", got)
				}
			})
		})
	}
}

// What a relay knows of held keys is in the log: the next one goes on with it.
func TestP21_HeldKeysAreRememberedAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
			switch m.ID {
			case "a-1":
				return relay.Result{Outcome: relay.Retry, After: time.Hour}
			case "b-1", "-1":
				return relay.Result{Outcome: relay.Refused}
			}
			return relay.Result{Outcome: relay.Stored}
		})
		r := f.run(relay.Config{})
		f.commit("a", "b", "a", "b", "c", "", "")
		synctest.Wait()
		r.stop()
		f.to.set(nil)
		f.run(relay.Config{})
		f.commit("a", "b", "c", "")
		synctest.Wait()
		wantOrder(t, "a", f.to.numbers("a"), 0)
		wantOrder(t, "b", f.to.numbers("b"), 0)
		wantOrder(t, "c", f.to.numbers("c"), 2)
		pass(2 * time.Hour)
		wantOrder(t, "a", f.to.numbers("a"), 3)
		wantIDs(t, "parked", f.heldIDs(outbox.Parked), "b-1", "-1")
		wantIDs(t, "waiting", f.heldIDs(outbox.Waiting), "b-2", "b-3")
	})
}

func TestMessagesWithoutAKeyAreHeldOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
			if m.ID == "-2" || m.ID == "-4" {
				return relay.Result{Outcome: relay.Retry}
			}
			return relay.Result{Outcome: relay.Stored}
		})
		f.run(relay.Config{})
		f.commit("", "", "", "", "")
		synctest.Wait()
		if n := len(f.to.arrivals()); n != 3 {
			t.Errorf("%d arrivals, want 3: messages without a key do not wait for each other", n)
		}
		wantIDs(t, "retrying", f.heldIDs(outbox.Retrying), "-2", "-4")
		f.to.set(nil)
		pass(time.Minute)
		if n := len(f.to.arrivals()); n != 5 {
			t.Errorf("%d arrivals, want 5", n)
		}
	})
}

// What is replayed is published beside what is new, each key in order, and does not
// carry along what is parked behind it.
func TestP23_ReplayGoesOnInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		r := f.run(relay.Config{PollInterval: time.Minute, BatchSize: 10})
		f.commit("a", "a", "a", "b", "b", "")
		synctest.Wait()
		f.to.set(fail("a", relay.Refused))
		f.commit("a")
		synctest.Wait()
		wantIDs(t, "parked", f.heldIDs(outbox.Parked), "a-4")
		at := f.cursor().Position
		f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
			if m.ID == "a-4" {
				return relay.Result{Outcome: relay.Refused, Err: errors.New("again")}
			}
			return relay.Result{Outcome: relay.Stored}
		})
		before := len(f.to.arrivals())
		n, err := f.log.Replay(t.Context(), "default", []int64{1, 2, 3, 4, 5, 6, 7, 99})
		if n != 6 || err != nil {
			t.Fatalf("Replay returned %d, %v, want the 6 that were delivered", n, err)
		}
		r.Wake()
		f.commit("a", "b")
		synctest.Wait()
		pass(2 * time.Minute)
		var a, b []string
		for _, id := range f.to.arrivals()[before:] {
			switch id[0] {
			case 'a':
				a = append(a, id)
			case 'b':
				b = append(b, id)
			}
		}
		wantIDs(t, "of a, again", a, "a-1", "a-2", "a-3")
		if len(b) < 3 || b[len(b)-1] != "b-3" && b[0] != "b-3" {
			t.Errorf("of b came %q, want both again, in order, and the new one", b)
		}
		wantIDs(t, "parked still", f.heldIDs(outbox.Parked), "a-4")
		wantIDs(t, "waiting", f.heldIDs(outbox.Waiting), "a-5")
		held := f.held(outbox.HeldFilter{State: outbox.Parked})
		if len(held) != 1 || held[0].Attempts != 1 {
			t.Errorf("what is parked was tried again: %+v", held)
		}
		if now := f.cursor().Position; now != at+2 {
			t.Errorf("the cursor is at %d, want %d: two new messages", now, at+2)
		}
	})
}

// A key that is stopped by its last message holds what comes, goes on in order when that
// is discarded, and with it when that is redriven; others do not notice.
func TestP23_StoppedKeyWaitsAndGoesOn(t *testing.T) {
	for _, end := range []string{"discard", "redrive"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				r := f.run(relay.Config{PollInterval: time.Minute, BatchSize: 10})
				f.commit("a", "a", "b")
				synctest.Wait()
				if n, err := f.log.Park(t.Context(), "default", []int64{1, 2}, "look into it"); n != 1 || err != nil {
					t.Fatalf("Park returned %d, %v, want one message", n, err)
				}
				r.Wake()
				synctest.Wait()
				before := len(f.to.arrivals())
				f.commit("a", "b", "a")
				pass(3 * time.Minute)
				wantIDs(t, "arrived while a is stopped", f.to.arrivals()[before:], "b-2")
				wantIDs(t, "parked", f.heldIDs(outbox.Parked), "a-2")
				wantIDs(t, "waiting", f.heldIDs(outbox.Waiting), "a-3", "a-4")
				want := []string{"b-2", "a-3", "a-4", "a-5"}
				var err error
				if end == "discard" {
					_, err = f.log.Discard(t.Context(), "default", []int64{2})
				} else {
					_, err = f.log.Redrive(t.Context(), "default", []int64{2})
					want = slices.Insert(want, 1, "a-2")
				}
				if err != nil {
					t.Fatal(err)
				}
				r.Wake()
				synctest.Wait()
				f.commit("a")
				pass(2 * time.Minute)
				wantIDs(t, "arrived in all", f.to.arrivals()[before:], want...)
				if held := f.held(outbox.HeldFilter{}); len(held) != 0 {
					t.Errorf("held are still %+v", held)
				}
			})
		})
	}
}

// What operators have held and made due again before a message that fails, between two
// looks of the relay, does not have it forget that message.
func TestP21_RedrivenBeforeAFailedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.run(relay.Config{PollInterval: time.Hour, BatchSize: 10, Backoff: relay.Backoff{Min: time.Minute, Max: time.Minute}})
		f.commit("a")
		synctest.Wait()
		if n, err := f.log.Park(t.Context(), "default", []int64{1}, "stop"); n != 1 || err != nil {
			t.Fatalf("Park returned %d, %v", n, err)
		}
		if n, err := f.log.Redrive(t.Context(), "default", []int64{1}); n != 1 || err != nil {
			t.Fatalf("Redrive returned %d, %v", n, err)
		}
		f.to.set(fail("a", relay.Retry))
		f.commit("a") // the relay has not heard of the first one
		synctest.Wait()
		wantIDs(t, "retrying", f.heldIDs(outbox.Retrying), "a-1", "a-2")
		before := len(f.to.arrivals())
		second := true
		f.to.set(func(_ context.Context, m outbox.Message) relay.Result {
			if m.ID == "a-2" && second {
				second = false
				return relay.Result{Outcome: relay.Retry, Err: errors.New("once more")}
			}
			return relay.Result{Outcome: relay.Stored}
		})
		pass(90 * time.Second)
		f.commit("a")
		pass(5 * time.Minute)
		wantIDs(t, "arrived", f.to.arrivals()[before:], "a-1", "a-2", "a-3")
	})
}

// A relay that holds nothing finds by polling what was replayed.
func TestP23_ReplayIsFoundByPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.run(relay.Config{PollInterval: time.Minute})
		f.commit("a", "")
		synctest.Wait()
		if n, err := f.log.Replay(t.Context(), "default", []int64{1, 2}); n != 2 || err != nil {
			t.Fatalf("Replay returned %d, %v", n, err)
		}
		pass(2 * time.Minute)
		if got := f.to.arrivals(); len(got) != 4 {
			t.Errorf("arrived are %q, want both twice", got)
		}
		if held := f.held(outbox.HeldFilter{}); len(held) != 0 {
			t.Errorf("held are still %+v", held)
		}
	})
}

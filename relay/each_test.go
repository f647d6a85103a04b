package relay_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

func batch(keys ...string) []outbox.Message {
	f := fixture{next: map[string]int{}}
	var messages []outbox.Message
	for _, key := range keys {
		messages = append(messages, f.message(key))
	}
	return messages
}

func outcomes(results []relay.Result) string {
	s := ""
	for _, r := range results {
		s += map[relay.Outcome]string{relay.Stored: "s", relay.NotTried: "-", relay.Retry: "r", relay.Unknown: "?"}[r.Outcome]
	}
	return s
}

func TestP21_EachStopsAKeyAtItsFirstFailure(t *testing.T) {
	to := newDestination(t)
	to.set(func(_ context.Context, m outbox.Message) relay.Result {
		if m.ID == "a-2" || m.ID == "-1" {
			return relay.Result{Outcome: relay.Retry}
		}
		return relay.Result{Outcome: relay.Stored}
	})
	for _, concurrency := range []int{-1, 1, 2, 100} {
		results := relay.Each(to.take, concurrency).Publish(t.Context(),
			batch("a", "", "b", "a", "a", "", "b", "a"))
		if got, want := outcomes(results), "srsr-ss-"; got != want {
			t.Errorf("concurrency %d: outcomes are %s, want %s", concurrency, got, want)
		}
	}
	wantOrder(t, "a", to.numbers("a"), 1)
	wantOrder(t, "b", to.numbers("b"), 2)
}

func TestEachPublishesKeysInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		keys := make(map[string]bool)
		publisher := relay.Each(func(_ context.Context, m outbox.Message) relay.Result {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			sleep(time.Second)
			return relay.Result{Outcome: relay.Stored}
		}, 3)
		var list []string
		for i := range 9 {
			key := string(rune('a' + i))
			keys[key] = true
			list = append(list, key, key)
		}
		began := time.Now()
		publisher.Publish(t.Context(), batch(list...))
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("18 messages of 9 keys took %v, want 6s by 3 at once", took)
		}
		if most.Load() != 3 {
			t.Errorf("%d were under way at once, want 3", most.Load())
		}
	})
}

func TestEachBeginsNothingInTheSecondHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		publisher := relay.Each(func(ctx context.Context, m outbox.Message) relay.Result {
			sleep(4 * time.Second)
			if ctx.Err() != nil {
				t.Errorf("the context of %s ended", m.ID)
			}
			return relay.Result{Outcome: relay.Stored}
		}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if got, want := outcomes(publisher.Publish(ctx, batch("a", "a", "a", "a"))), "ss--"; got != want {
			t.Errorf("outcomes are %s, want %s", got, want)
		}
	})
}

func TestEachSurvivesAPanic(t *testing.T) {
	publisher := relay.Each(func(_ context.Context, m outbox.Message) relay.Result {
		if m.Key == "a" {
			panic("broken")
		}
		return relay.Result{Outcome: relay.Stored}
	}, 1)
	results := publisher.Publish(t.Context(), batch("a", "b", "a"))
	if got, want := outcomes(results), "?s-"; got != want {
		t.Errorf("outcomes are %s, want %s", got, want)
	}
	var panicked *relay.PanicError
	if !errors.As(results[0].Err, &panicked) || panicked.Value != "broken" || len(panicked.Stack) == 0 {
		t.Errorf("the error is %v, want a *PanicError", results[0].Err)
	}
}

package relay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// recentLog is a log of which memory has only what this process has appended, as those of
// databases are: a scan of what is recent does not see the rest, unless it must read.
type recentLog struct {
	outbox.Log
	recent outbox.Recent
	subs   outbox.Subscribers
	mu     sync.Mutex
	reads  int
}

func (l *recentLog) Scan(ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error) {
	if messages, next, ok := l.recent.Scan(query); ok {
		return messages, next, nil
	}
	l.mu.Lock()
	l.reads++
	l.mu.Unlock()
	return l.Log.Scan(ctx, query)
}

func (l *recentLog) Subscribe(fn func(recent bool)) func() { return l.subs.Add(fn) }

// newest hands over the messages after a position.
func (l *recentLog) newest(t *testing.T, after int64) (end int64) {
	t.Helper()
	messages, end, err := l.Log.Scan(context.Background(), outbox.Query{After: after, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	l.recent.Add(messages)
	return end
}

func TestWhatIsRecentIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		log := &recentLog{Log: f.log}
		f.run(relay.Config{Log: log, PollInterval: time.Hour})
		synctest.Wait()
		log.reads = 0
		for n := range 3 {
			f.commit("a", "b")
			log.newest(t, int64(2*n))
			log.subs.Wake(true)
			synctest.Wait()
		}
		wantOrder(t, "a", f.to.numbers("a"), 3)
		if log.reads != 0 {
			t.Errorf("the log was read %d times", log.reads)
		}
	})
}

// Whatever this process and others append, in whatever order it is told of, nothing waits
// for a poll.
func TestP22_NothingOfOthersWaitsBehindWhatIsRecent(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			f := newFixture(t)
			log := &recentLog{Log: f.log}
			var mu sync.Mutex
			outages := rand.New(rand.NewPCG(seed, 8))
			f.to.set(func(context.Context, outbox.Message) relay.Result {
				time.Sleep(time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				if outages.IntN(40) == 0 {
					return relay.Result{Outcome: relay.Unavailable}
				}
				return relay.Result{Outcome: relay.Stored}
			})
			f.run(relay.Config{
				Log: log, PollInterval: 24 * time.Hour, BatchSize: 1 + random.IntN(6), Partitions: 1 + random.IntN(3),
				Backoff: relay.Backoff{Min: time.Millisecond, Max: 5 * time.Millisecond},
			})
			synctest.Wait()
			end := int64(0)
			for range 60 {
				keys := make([]string, 1+random.IntN(4))
				for i := range keys {
					keys[i] = fmt.Sprint(random.IntN(5))
				}
				f.commit(keys...)
				if random.IntN(3) > 0 {
					end = log.newest(t, end)
					log.subs.Wake(true)
				} else {
					end += int64(len(keys))
					time.AfterFunc(time.Duration(random.IntN(5))*time.Millisecond, func() { log.subs.Wake(false) })
				}
				time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond)
			}
			pass(10 * time.Minute)
			for key, n := range f.next {
				wantOrder(t, fmt.Sprintf("seed %d, key %s", seed, key), f.to.numbers(key), n)
			}
		})
	}
}

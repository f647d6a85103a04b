package relays_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/stores"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// script is a database of any store, whose relays run in this process.
type script struct {
	*testing.T
	*stores.Database
	counters *uow.Collection[counter]
	log      outbox.Log
}

// eachStore runs a scripted scenario on each store, but for those that are one in
// another mode.
func eachStore(t *testing.T, run func(s *script, store stores.Store)) {
	for _, store := range stores.All(&local) {
		if store.Variant {
			continue
		}
		t.Run(store.Name, func(t *testing.T) {
			counters := newCounters()
			db := store.Open(t, stores.Options{Config: uow.Config{Collections: []uow.AnyCollection{counters}}})
			log, err := outbox.Of(db.DB)
			if err != nil {
				t.Fatal(err)
			}
			run(&script{T: t, Database: db, counters: counters, log: log}, store)
		})
	}
}

func (s *script) append(messages ...outbox.Message) error {
	return s.Do(s.Context(), func(_ context.Context, u *uow.Unit) error { return outbox.Append(u, messages...) })
}

func (s *script) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// relaying is a relay that runs.
type relaying struct {
	cancel, stop func()
}

func (s *script) relay(cfg relay.Config) relaying {
	s.Helper()
	cfg.Log, cfg.PollInterval, cfg.Logger = s.log, 20*time.Millisecond, slog.New(slog.DiscardHandler)
	cfg.Backoff = relay.Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond}
	r, err := relay.New(cfg)
	s.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx); err != nil {
			s.Errorf("the relay ended: %v", err)
		}
	}()
	stop := func() { cancel(); <-ended }
	s.Cleanup(stop)
	return relaying{cancel, stop}
}

// until waits for something that has to happen.
func (s *script) until(what string, yes func() bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 2*time.Minute)
	defer cancel()
	for !yes() {
		if pause(ctx, 5*time.Millisecond); ctx.Err() != nil {
			s.Fatalf("%s: it never was", what)
		}
	}
}

// arrivals is where messages arrive.
type arrivals struct {
	mu  sync.Mutex
	all []outbox.Message
}

func (a *arrivals) take(_ context.Context, m outbox.Message) relay.Result {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, m)
	return relay.Result{Outcome: relay.Stored}
}

func (a *arrivals) ids() (ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.all {
		ids = append(ids, m.ID)
	}
	return ids
}

// Payloads arrive as they were, whatever they are. One that is too large for a server is
// refused, and nothing of its unit is there.
func TestP19_PayloadsArriveAsTheyWere(t *testing.T) {
	const mib = 1 << 20
	eachStore(t, func(s *script, _ stores.Store) {
		payloads := map[string][]byte{
			"empty": {}, "NUL": {0}, "invalid UTF-8": []byte("\xff\xfe\xc3\x28\xed\xa0\x80"), "quotes": []byte(`'"\%_;--` + "\r\n\x1a"),
			"1 MiB": bytes.Repeat([]byte("\x00\xff'\\"), mib/4), "64 MiB": bytes.Repeat([]byte("\x00\xff'\\"), 16*mib),
		}
		sums, refused := map[string][32]byte{}, []string(nil)
		for name, payload := range payloads {
			err := s.append(outbox.Message{ID: name, Key: "k", Type: "t", Payload: payload}, outbox.Message{ID: "with " + name, Type: "t"})
			if name == "64 MiB" && errors.Is(err, mysql.ErrTooLarge) {
				refused = append(refused, name)
				continue
			}
			s.must(err)
			sums[name], sums["with "+name] = sha256.Sum256(payload), sha256.Sum256(nil)
		}
		var mu sync.Mutex
		got := map[string][32]byte{}
		s.relay(relay.Config{Publisher: relay.Each(func(_ context.Context, m outbox.Message) relay.Result {
			mu.Lock()
			defer mu.Unlock()
			got[m.ID] = sha256.Sum256(m.Payload)
			return relay.Result{Outcome: relay.Stored}
		}, 1)})
		s.until("all have arrived", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) >= len(sums) })
		stats, err := s.log.Stats(s.Context())
		s.must(err)
		if stats.Messages != int64(len(sums)) {
			s.Errorf("the log has %d messages, want %d: %v were refused", stats.Messages, len(sums), refused)
		}
		mu.Lock()
		defer mu.Unlock()
		for name, sum := range sums {
			if got[name] != sum {
				s.Errorf("the payload of %q did not arrive as it was", name)
			}
		}
	})
}

// For every k: k of n messages are acknowledged when the relay is stopped. The next one
// delivers the rest, and forgets none.
func TestP20_KOfNAcknowledgedThenClosedInEveryStore(t *testing.T) {
	const n = 6
	eachStore(t, func(s *script, _ stores.Store) {
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(i))
			s.must(s.append(outbox.Message{ID: want[i], Key: "k", Type: "t"}))
		}
		for k := range n + 1 {
			cursor := fmt.Sprint("closed after ", k)
			reached, closed, first := make(chan struct{}), make(chan struct{}), &arrivals{}
			old := s.relay(relay.Config{Cursor: cursor, Publisher: relay.Each(
				func(ctx context.Context, m outbox.Message) relay.Result {
					if len(first.ids()) == k {
						close(reached)
						<-closed
						return relay.Result{Outcome: relay.Unknown}
					}
					return first.take(ctx, m)
				}, 1)})
			if k < n {
				<-reached
			} else {
				s.until("all were acknowledged", func() bool { return len(first.ids()) == n })
			}
			old.cancel()
			close(closed)
			old.stop()
			rest := &arrivals{}
			next := s.relay(relay.Config{Cursor: cursor, Publisher: relay.Each(rest.take, 1)})
			s.until("the rest was delivered", func() bool {
				stats, err := s.log.Stats(s.Context())
				s.must(err)
				i := slices.IndexFunc(stats.Cursors, func(c outbox.CursorStats) bool { return c.Cursor == cursor })
				c := stats.Cursors[i]
				return c.Position == stats.End && c.Retrying+c.Waiting+c.Parked == 0
			})
			next.stop()
			if got := slices.Compact(slices.Sorted(slices.Values(append(first.ids(), rest.ids()...)))); !slices.Equal(got, want) {
				s.Errorf("closed after %d: %v arrived, then %v", k, first.ids(), rest.ids())
			}
			if got := rest.ids(); !slices.Equal(got, want[n-len(got):]) {
				s.Errorf("closed after %d: then %v arrived, want them in order", k, got)
			}
		}
	})
}

// A transaction that wrote elsewhere first, and so is older than another, changes the
// aggregate last: its message comes last.
func TestP21_TheOlderTransactionCommitsLast(t *testing.T) {
	eachStore(t, func(s *script, store stores.Store) {
		if s.Note == nil || store.Waits {
			s.Skip("no transaction of it is older than one that commits before it")
		}
		s.must(s.Do(s.Context(), func(_ context.Context, u *uow.Unit) error { return s.counters.In(u).Add(&counter{ID: "a"}) }))
		count := func(ctx context.Context, u *uow.Unit, id string) error {
			c, err := s.counters.In(u).Get(ctx, "a")
			if err != nil {
				return err
			}
			c.N++
			return outbox.Append(u, outbox.Message{ID: id, Key: "a", Type: "t"})
		}
		s.must(s.Do(s.Context(), func(ctx context.Context, u *uow.Unit) error {
			if err := s.Note(ctx, u, "elsewhere"); err != nil {
				return err
			}
			younger := s.Do(s.Context(), func(ctx context.Context, u *uow.Unit) error { return count(ctx, u, "younger") })
			return errors.Join(younger, count(ctx, u, "older"))
		}))
		to := &arrivals{}
		s.relay(relay.Config{Publisher: relay.Each(to.take, 1)})
		s.until("both have arrived", func() bool { return len(to.ids()) == 2 })
		if got := to.ids(); !slices.Equal(got, []string{"younger", "older"}) {
			s.Errorf("%v arrived, want the younger first: it has counted first", got)
		}
	})
}

// A stranger's transaction that has written, and stays open, holds up nothing: all is
// delivered before it ends. What it costs is logged.
func TestP22_AnIdleWriterHoldsUpNothing(t *testing.T) {
	eachStore(t, func(s *script, store stores.Store) {
		if s.Note == nil || store.Waits {
			s.Skip("a writer of it keeps all others off")
		}
		var mu sync.Mutex
		var late []time.Duration
		sent := map[string]time.Time{}
		s.relay(relay.Config{Publisher: relay.Each(func(_ context.Context, m outbox.Message) relay.Result {
			mu.Lock()
			defer mu.Unlock()
			late = append(late, time.Since(sent[m.ID]))
			return relay.Result{Outcome: relay.Stored}
		}, 1)})
		traffic := func(when string) {
			for i := range 100 {
				id := fmt.Sprint(when, i)
				mu.Lock()
				sent[id] = time.Now()
				mu.Unlock()
				s.must(s.append(outbox.Message{ID: id, Type: "t"}))
			}
			s.until("all have arrived "+when, func() bool { mu.Lock(); defer mu.Unlock(); return len(late) == 100 })
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(late)
			s.Logf("%s: p50 %v, p99 %v", when, late[50].Round(10*time.Microsecond), late[98].Round(10*time.Microsecond))
			late = nil
		}
		traffic("alone")
		other := store.Open(t, stores.Options{})
		s.must(other.Do(s.Context(), func(ctx context.Context, u *uow.Unit) error {
			err := other.Note(ctx, u, "open")
			traffic("beside an idle writer in another database")
			return err
		}))
		s.must(s.Do(s.Context(), func(ctx context.Context, u *uow.Unit) error {
			err := s.Note(ctx, u, "open")
			traffic("beside an idle writer in another table")
			return err
		}))
	})
}

// One key among a thousand can't be delivered: it is parked with what is behind it, and
// all others arrive.
func TestP23_PoisonAmongAThousandKeysOfEveryStore(t *testing.T) {
	const keys = 1000
	eachStore(t, func(s *script, _ stores.Store) {
		var messages []outbox.Message
		for i := range 2 * keys {
			messages = append(messages, outbox.Message{ID: fmt.Sprint(i), Key: fmt.Sprint("key ", i%keys), Type: "t"})
		}
		s.must(s.append(messages...))
		to := &arrivals{}
		s.relay(relay.Config{MaxAttempts: 3, Publisher: relay.Each(func(ctx context.Context, m outbox.Message) relay.Result {
			if m.Key == "key 500" {
				return relay.Result{Outcome: relay.Retry, Err: errors.New("poison")}
			}
			return to.take(ctx, m)
		}, 4)})
		s.until("all others have arrived, and the key is parked", func() bool {
			parked, err := s.log.Held(s.Context(), "default", outbox.HeldFilter{State: outbox.Parked})
			s.must(err)
			return len(to.ids()) == 2*(keys-1) && len(parked) == 1
		})
		held, err := s.log.Held(s.Context(), "default", outbox.HeldFilter{})
		s.must(err)
		if len(held) != 2 || held[0].Message.ID != "500" || held[1].State != outbox.Waiting {
			s.Errorf("%+v are held, want the first message parked, and the second waiting", held)
		}
	})
}

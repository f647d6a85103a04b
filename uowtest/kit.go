package uowtest

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// kit is what a check works with: a fresh database, and words for failures.
type kit struct {
	words
	schema
	h     Harness
	db    *uow.DB
	clock clock

	mu         sync.Mutex
	hookErrors []*uow.HookError
}

func newKit(t testing.TB, h Harness, c Check) *kit {
	k := &kit{
		words:  c.words(t),
		schema: newSchema(h.Lacks),
		h:      h,
		clock:  clock{now: time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)},
	}
	k.db = h.Open(t, k.config())
	return k
}

func (k *kit) config() uow.Config {
	return uow.Config{
		Collections: k.all(),
		Now:         k.clock.Now,
		Logger:      slog.New(slog.DiscardHandler),
		OnHookError: func(_ context.Context, err *uow.HookError) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.hookErrors = append(k.hookErrors, err)
		},
	}
}

// clock is a clock that moves only when told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// do runs the unit that a check is about.
func (k *kit) do(ctx context.Context, fn func(ctx context.Context, u *uow.Unit) error) error {
	if k.h.do != nil {
		return k.h.do(ctx, k.db, fn)
	}
	return k.db.Do(ctx, fn)
}

// nested runs the nested unit that a check is about.
func (k *kit) nested(ctx context.Context, u *uow.Unit, fn func(ctx context.Context, u *uow.Unit) error) error {
	if k.h.nested != nil {
		return k.h.nested(ctx, u, fn)
	}
	return u.Nested(ctx, fn)
}

// setUp runs a unit that must go well.
func (k *kit) setUp(fn func(ctx context.Context, u *uow.Unit) error) {
	k.Helper()
	k.must("a unit that prepares or looks", k.granted(func() error { return k.db.Do(k.Context(), fn) }))
}

// granted runs a unit, and again where the store may refuse it for no conflict of
// its own and has.
func (k *kit) granted(unit func() error) error {
	err := unit()
	for range 10_000 {
		if !k.h.Lacks.PreciseConflicts || !errors.Is(err, uow.ErrRetryable) {
			return err
		}
		err = unit()
	}
	return err
}

// save stores accounts with a balance of 100.
func (k *kit) save(ids ...string) {
	k.Helper()
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		for _, id := range ids {
			if err := k.accounts.In(u).Add(&account{ID: id, Owner: "nobody", Balance: 100}); err != nil {
				return err
			}
		}
		return nil
	})
}

// saved is an account as a new unit finds it.
type saved struct {
	found   bool
	version int64
	balance int64
}

// look finds an account in a new unit.
func (k *kit) look(id string) (s saved) {
	k.Helper()
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		s = saved{}
		a, err := k.accounts.In(u).Get(ctx, id)
		if errors.Is(err, uow.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		s.found, s.balance = true, a.Balance
		s.version, err = k.accounts.In(u).Version(a)
		return err
	})
	return s
}

// wantBalance demands that an account has the balance.
func (k *kit) wantBalance(id string, want int64, when string) {
	k.Helper()
	if got := k.look(id); !got.found || got.balance != want {
		k.broken("%s, accounts/%s should have the balance %d; got %+v", when, id, want, got)
	}
}

// wantNone demands that there are no such accounts.
func (k *kit) wantNone(when string, ids ...string) {
	k.Helper()
	for _, id := range ids {
		if got := k.look(id); got.found {
			k.broken("%s, there should be no accounts/%s; got %+v", when, id, got)
		}
	}
}

// change adds to an account's balance in a unit.
func (k *kit) change(ctx context.Context, u *uow.Unit, id string, by int64) error {
	a, err := k.accounts.In(u).Get(ctx, id)
	if err != nil {
		return err
	}
	a.Balance += by
	return nil
}

// meanwhile changes an account in a unit of its own.
func (k *kit) meanwhile(id string, by int64) {
	k.Helper()
	k.setUp(func(ctx context.Context, u *uow.Unit) error { return k.change(ctx, u, id, by) })
}

// apart runs fn in a goroutine of its own and waits for its end, which may be by
// runtime.Goexit or a panic, whose value is returned.
func apart(fn func()) (panicked any) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		fn()
	}()
	<-done
	return panicked
}

// eventually waits for what other goroutines need to be scheduled for. It gives
// up after many turns, rather than after a time.
func (k *kit) eventually(rule string, done func() bool) {
	k.Helper()
	for range 1_000_000 {
		if done() {
			return
		}
		runtime.Gosched()
	}
	k.broken("%s, and was not", rule)
}

// log returns the outbox.
func (k *kit) log() outbox.Log {
	k.Helper()
	log, err := outbox.Of(k.db)
	k.must("outbox.Of", err)
	return log
}

// messages returns the whole log.
func (k *kit) messages() []outbox.Message {
	k.Helper()
	var all []outbox.Message
	log, after := k.log(), int64(0)
	for {
		some, next, err := log.Scan(k.Context(), outbox.Query{After: after, Limit: 100})
		k.must("Scan", err)
		all = append(all, some...)
		if next == after {
			return all
		}
		after = next
	}
}

// wantMessages demands that the log has these messages, by type and key.
func (k *kit) wantMessages(when string, want ...string) {
	k.Helper()
	var got []string
	for _, m := range k.messages() {
		got = append(got, m.Type+" "+m.Key)
	}
	if !slices.Equal(got, want) {
		k.broken("%s, the log should have %q; got %q", when, want, got)
	}
}

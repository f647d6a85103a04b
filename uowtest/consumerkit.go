package uowtest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay"
)

// consumerKit is what a check of consumers works with: a new queue, a database with an
// inbox, and words for failures.
type consumerKit struct {
	brokerKit
	h     ConsumerHarness
	queue Queue

	db       *uow.DB
	journals *uow.Collection[journal]
	inbox    *inbox.Inbox

	mu    sync.Mutex
	began map[string]int // how often the handling of each id has begun
}

// journal is the effects of the messages of a key, in their order.
type journal struct {
	ID  string
	IDs []string
}

func newConsumerKit(t testing.TB, h ConsumerHarness, c ConsumerCheck) *consumerKit {
	k := &consumerKit{
		brokerKit: newBrokerKit(c.words(t), h.Address, h.patience, func() []byte { return []byte(`{"Amount":30}`) }),
		h:         h, queue: h.New(t),
		journals: uow.NewCollection[journal]("journals"), began: map[string]int{},
	}
	records := inbox.NewRecords()
	var err error
	k.db, err = memory.Open(t.Context(), uow.Config{
		Collections: append(records.Collections(), k.journals), Logger: slog.New(slog.DiscardHandler),
	})
	k.must("open a database", err)
	t.Cleanup(func() { _ = k.db.Close() })
	k.inbox, err = inbox.New(k.db, records, inbox.Config{Consumer: "kit"})
	k.must("make an inbox", err)
	return k
}

// spread makes n messages, each of a key of its own.
func (k *consumerKit) spread(prefix string, n int) (batch []outbox.Message) {
	for i := range n {
		batch = append(batch, k.message(fmt.Sprint(prefix, i), 0))
	}
	return batch
}

func (k *consumerKit) publish(batch ...outbox.Message) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), time.Minute)
	defer cancel()
	k.must("publish", k.queue.Publish(ctx, batch))
}

// hooks are what a check does in the handler. All may be nil.
type hooks struct {
	before func(ctx context.Context, m consumer.Message) error // before the unit
	inside func(ctx context.Context, m consumer.Message) error // in it, with the effect made
	after  func(m consumer.Message) error                      // after its commit
	change func(cfg *consumer.Config)
	shared bool // others run at the same time
}

// consuming is a consumer that runs.
type consuming struct {
	k      *consumerKit
	c      ClosingConsumer
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run, when it has ended
}

// consume opens a consumer and runs it.
func (k *consumerKit) consume(address string, h hooks) *consuming {
	k.Helper()
	return k.consumeIn(context.WithoutCancel(k.Context()), address, h)
}

func (k *consumerKit) consumeIn(ctx context.Context, address string, h hooks) *consuming {
	k.Helper()
	cfg := consumer.Config{
		Handle:  k.handler(h),
		Backoff: relays.Backoff{Min: 2 * time.Millisecond, Max: 50 * time.Millisecond},
		Logger:  slog.New(slog.DiscardHandler),
	}
	if h.change != nil {
		h.change(&cfg)
	}
	c, err := k.queue.Open(ctx, address, h.shared, cfg)
	k.must("open a consumer", err)
	r := &consuming{k: k, c: c, ended: make(chan struct{})}
	ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		defer close(r.ended)
		r.err = c.Run(ctx)
	}()
	k.Cleanup(func() {
		r.cancel()
		_ = c.Close()
	})
	return r
}

// stop ends Run, and demands that it returns.
func (r *consuming) stop() {
	r.k.Helper()
	r.cancel()
	r.wait()
}

func (r *consuming) wait() {
	r.k.Helper()
	r.k.await("Run should return when its context has ended", r.ended)
	if r.err != nil {
		r.k.broken("Run should return nil when its context ends; it returned %v", r.err)
	}
}

// handler handles through the inbox, with the effect that a journal has the id.
func (k *consumerKit) handler(h hooks) func(ctx context.Context, m consumer.Message) error {
	return func(ctx context.Context, m consumer.Message) error {
		k.mu.Lock()
		k.began[m.ID]++
		k.mu.Unlock()
		if h.before != nil {
			if err := h.before(ctx, m); err != nil {
				return err
			}
		}
		err := k.inbox.Handler(func(ctx context.Context, u *uow.Unit, _ outbox.Message) error {
			if err := k.enter(ctx, u, m); err != nil || h.inside == nil {
				return err
			}
			return h.inside(ctx, m)
		})(ctx, m)
		if err == nil && h.after != nil {
			err = h.after(m)
		}
		return err
	}
}

func (k *consumerKit) enter(ctx context.Context, u *uow.Unit, m consumer.Message) error {
	found, err := k.journals.In(u).GetMany(ctx, "key "+m.Key)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return k.journals.In(u).Add(&journal{ID: "key " + m.Key, IDs: []string{m.ID}})
	}
	found[0].IDs = append(found[0].IDs, m.ID)
	return nil
}

// times returns how often the handling of a message has begun.
func (k *consumerKit) times(m outbox.Message) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.began[m.ID]
}

// effects returns the journals by key.
func (k *consumerKit) effects() map[string][]string {
	k.Helper()
	all := map[string][]string{}
	err := k.db.View(context.WithoutCancel(k.Context()), func(ctx context.Context, v *uow.View) error {
		for j, err := range k.journals.From(v).All(ctx, uow.Query{}) {
			if err != nil {
				return err
			}
			all[j.ID[len("key "):]] = j.IDs
		}
		return nil
	})
	k.must("read the effects", err)
	return all
}

// has reports whether all of these messages have taken effect.
func (k *consumerKit) has(batch []outbox.Message) bool {
	effects := k.effects()
	return !slices.ContainsFunc(batch, func(m outbox.Message) bool { return !slices.Contains(effects[m.Key], m.ID) })
}

// wantEffects waits until these messages have taken effect and nothing is waiting at the
// broker any more, and demands that each did once, in the order of its key.
func (k *consumerKit) wantEffects(when string, batch []outbox.Message) {
	k.Helper()
	if !k.eventually(func() bool { return k.has(batch) }) {
		k.broken("%s, %d messages should have taken effect; there is %v", when, len(batch), k.effects())
		k.FailNow()
	}
	k.wantWaiting(when, 0)
	effects, want := k.effects(), idsByKey(batch)
	for key, ids := range want {
		if !slices.Equal(effects[key], ids) {
			k.broken("%s, the effects of the key %q should be those of %v; they are of %v", when, key, ids, effects[key])
		}
	}
	for key, ids := range effects {
		if want[key] == nil {
			k.broken("%s, nothing else should have taken effect; %v did, of the key %q", when, ids, key)
		}
	}
}

// waiting returns how many messages the broker waits for.
func (k *consumerKit) waiting() int {
	k.Helper()
	ctx, cancel := k.asking()
	defer cancel()
	n, err := k.queue.Waiting(ctx)
	k.must("ask the broker what is waiting", err)
	return n
}

// wantWaiting waits until so many messages are not acknowledged.
func (k *consumerKit) wantWaiting(when string, want int) {
	k.Helper()
	n := 0
	if !k.eventually(func() bool { n = k.waiting(); return n == want }) {
		k.broken("%s, %d messages should not be acknowledged; there are %d", when, want, n)
		k.FailNow()
	}
}

// dead returns what was refused.
func (k *consumerKit) dead() []DeadLetter {
	k.Helper()
	ctx, cancel := k.asking()
	defer cancel()
	all, err := k.queue.Dead(ctx)
	k.must("read what was refused", err)
	return all
}

// await waits for a channel that a handler closes.
func (k *consumerKit) await(what string, c <-chan struct{}) {
	k.Helper()
	await(&k.brokerKit, k.patience, what, c)
}

// gate is opened once, by whoever comes first.
type gate struct {
	once sync.Once
	c    chan struct{}
}

func newGate() *gate { return &gate{c: make(chan struct{})} }

func (g *gate) open() { g.once.Do(func() { close(g.c) }) }

// pass waits for the gate, or the end of ctx.
func (g *gate) pass(ctx context.Context) error {
	select {
	case <-g.c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// fixture is a database with an outbox, and a destination.
type fixture struct {
	t    *testing.T
	db   *uow.DB
	log  outbox.Log
	next map[string]int // the last number of each key
	to   *destination
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	db, err := memory.Open(t.Context(), uow.Config{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := outbox.Of(db)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{t: t, db: db, log: log, next: map[string]int{}, to: newDestination(t)}
}

// message returns the next message of a key: its payload is its number in it.
func (f *fixture) message(key string) outbox.Message {
	f.next[key]++
	n := strconv.Itoa(f.next[key])
	return outbox.Message{ID: key + "-" + n, Key: key, Topic: "t", Type: "Happened", Payload: []byte(n)}
}

// commit appends the next message of each key, in one unit.
func (f *fixture) commit(keys ...string) {
	f.t.Helper()
	messages := make([]outbox.Message, len(keys))
	for i, key := range keys {
		messages[i] = f.message(key)
	}
	f.append(messages...)
}

func (f *fixture) append(messages ...outbox.Message) {
	f.t.Helper()
	err := f.db.Do(context.Background(), func(_ context.Context, u *uow.Unit) error {
		return outbox.Append(u, messages...)
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) held(filter outbox.HeldFilter) []outbox.Held {
	f.t.Helper()
	held, err := f.log.Held(context.Background(), "default", filter)
	if err != nil {
		f.t.Fatal(err)
	}
	return held
}

func (f *fixture) heldIDs(state outbox.HoldState) []string {
	f.t.Helper()
	var ids []string
	for _, h := range f.held(outbox.HeldFilter{State: state}) {
		ids = append(ids, h.Message.ID)
	}
	return ids
}

func (f *fixture) positions(state outbox.HoldState) []int64 {
	f.t.Helper()
	var positions []int64
	for _, h := range f.held(outbox.HeldFilter{State: state}) {
		positions = append(positions, h.Position)
	}
	return positions
}

func (f *fixture) cursor() outbox.CursorStats {
	f.t.Helper()
	stats, err := f.log.Stats(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, c := range stats.Cursors {
		if c.Cursor == "default" {
			return c
		}
	}
	return outbox.CursorStats{}
}

// running is a relay that runs.
type running struct {
	*relay.Relay
	t      *testing.T
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

// run starts a relay, which ends with the test. Unless the test is about leases, it
// takes over.
func (f *fixture) run(cfg relay.Config) *running {
	f.t.Helper()
	if cfg.Log == nil {
		cfg.Log = f.log
	}
	if cfg.Publisher == nil {
		cfg.Publisher = relay.Each(f.to.take, 4)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	cfg.TakeOver = cfg.Lease == 0
	r, err := relay.New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := &running{Relay: r, t: f.t, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(running.ended)
		running.err = r.Run(ctx)
	}()
	f.t.Cleanup(func() {
		cancel()
		<-running.ended
	})
	return running
}

// stop ends the relay, which must succeed.
func (r *running) stop() {
	r.t.Helper()
	if err := r.end(); err != nil {
		r.t.Fatalf("Run returned %v after its context ended, want nil", err)
	}
}

func (r *running) end() error {
	r.cancel()
	<-r.ended
	return r.err
}

// destination records what is published to it. Its decide function, when set, says
// what becomes of each message.
type destination struct {
	t      *testing.T
	mu     sync.Mutex
	decide func(ctx context.Context, m outbox.Message) relay.Result
	// all are the ids in the order of arrival; first are the numbers of each key
	// in the order in which they arrived for the first time.
	all   []string
	first map[string][]int
	seen  map[string]bool
}

func newDestination(t *testing.T) *destination {
	return &destination{t: t, first: map[string][]int{}, seen: map[string]bool{}}
}

// store is the receiver's side: the message has arrived.
func (d *destination) store(m outbox.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, m.ID)
	if d.seen[m.ID] {
		return
	}
	d.seen[m.ID] = true
	n, err := strconv.Atoi(string(m.Payload))
	if err != nil {
		d.t.Errorf("the payload of %s is not a number: %v", m.ID, err)
	}
	d.first[m.Key] = append(d.first[m.Key], n)
}

func (d *destination) take(ctx context.Context, m outbox.Message) relay.Result {
	d.mu.Lock()
	decide := d.decide
	d.mu.Unlock()
	r := relay.Result{Outcome: relay.Stored}
	if decide != nil {
		r = decide(ctx, m)
	}
	if r.Outcome.Delivered() {
		d.store(m)
	}
	return r
}

func (d *destination) set(decide func(ctx context.Context, m outbox.Message) relay.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.decide = decide
}

func (d *destination) arrivals() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}

func (d *destination) numbers(key string) []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.first[key])
}

// fail decides that messages of a key are not taken.
func fail(key string, outcome relay.Outcome) func(context.Context, outbox.Message) relay.Result {
	return func(_ context.Context, m outbox.Message) relay.Result {
		if m.Key == key {
			return relay.Result{Outcome: outcome, Err: errors.New("no")}
		}
		return relay.Result{Outcome: relay.Stored}
	}
}

func wantOrder(t *testing.T, what string, got []int, n int) {
	t.Helper()
	want := make([]int, n)
	for i := range want {
		want[i] = i + 1
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: first deliveries came as %v, want 1 to %d in order", what, got, n)
	}
}

func wantIDs(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// faultyLog is a log whose operations fail as fault says: before they were done,
// or after.
type faultyLog struct {
	outbox.Log
	mu    sync.Mutex
	calls map[string]int
	fault func(operation string) (before, after error)
}

func (l *faultyLog) do(operation string, fn func() error) error {
	l.mu.Lock()
	if l.calls == nil {
		l.calls = map[string]int{}
	}
	l.calls[operation]++
	fault := l.fault
	l.mu.Unlock()
	var before, after error
	if fault != nil {
		before, after = fault(operation)
	}
	if before != nil {
		return before
	}
	if err := fn(); err != nil {
		return err
	}
	return after
}

// counts returns how often each operation was called, and forgets it.
func (l *faultyLog) counts() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := fmt.Sprint(l.calls)
	l.calls = nil
	return s
}

func (l *faultyLog) Acquire(ctx context.Context, claim outbox.Claim) (lease outbox.Lease, err error) {
	err = l.do("acquire", func() (err error) {
		lease, err = l.Log.Acquire(ctx, claim)
		return err
	})
	return lease, err
}

func (l *faultyLog) Release(ctx context.Context, lease outbox.Lease) error {
	return l.do("release", func() error { return l.Log.Release(ctx, lease) })
}

func (l *faultyLog) Join(ctx context.Context, cursor, member string, ttl time.Duration) (members []string, err error) {
	err = l.do("join", func() (err error) {
		members, err = l.Log.Join(ctx, cursor, member, ttl)
		return err
	})
	return members, err
}

func (l *faultyLog) Scan(ctx context.Context, query outbox.Query) (messages []outbox.Message, next int64, err error) {
	err = l.do("scan", func() (err error) {
		messages, next, err = l.Log.Scan(ctx, query)
		return err
	})
	return messages, next, err
}

func (l *faultyLog) Held(ctx context.Context, cursor string, filter outbox.HeldFilter) (held []outbox.Held, err error) {
	err = l.do("held", func() (err error) {
		held, err = l.Log.Held(ctx, cursor, filter)
		return err
	})
	return held, err
}

func (l *faultyLog) Settle(ctx context.Context, lease outbox.Lease, s outbox.Settlement) error {
	return l.do("settle", func() error { return l.Log.Settle(ctx, lease, s) })
}

func (l *faultyLog) Trim(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = l.do("trim", func() (err error) {
		n, err = l.Log.Trim(ctx, before, limit)
		return err
	})
	return n, err
}

// sleep waits, in a bubble of synctest, where it takes no time.
func sleep(d time.Duration) { <-time.After(d) }

// pass lets time go by, in a bubble of synctest, and everything settle.
func pass(d time.Duration) {
	sleep(d)
	synctest.Wait()
}

package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// source is a broker in memory.
type source struct {
	mu       sync.Mutex
	waiting  []*consumer.Delivery
	limits   []int
	acked    []string
	dead     []string
	returned []string
	extended int
	noPlace  bool
	failing  int // so many more calls of Receive and Refuse fail
}

func (s *source) Receive(ctx context.Context, limit int) ([]*consumer.Delivery, error) {
	s.mu.Lock()
	s.limits = append(s.limits, limit)
	if s.failing > 0 {
		s.failing--
		s.mu.Unlock()
		return nil, errors.New("no connection")
	}
	n := min(limit, len(s.waiting))
	some := s.waiting[:n]
	s.waiting = s.waiting[n:]
	s.mu.Unlock()
	if n == 0 {
		<-ctx.Done()
	}
	return some, nil
}

func (s *source) Extend(context.Context, []*consumer.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extended++
	return nil
}

func (s *source) Ack(_ context.Context, d *consumer.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = append(s.acked, d.Message.ID)
	return nil
}

func (s *source) Refuse(_ context.Context, d *consumer.Delivery, reason error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noPlace {
		return consumer.ErrNoPlace
	}
	if s.failing > 0 {
		s.failing--
		return errors.New("no connection")
	}
	s.dead = append(s.dead, d.Message.ID+": "+consumer.Reason(reason))
	return nil
}

func (s *source) Return(_ context.Context, held []*consumer.Delivery) error {
	for _, d := range held {
		s.returned = append(s.returned, d.Message.ID)
	}
	return nil
}

func delivery(key, id string) *consumer.Delivery {
	return &consumer.Delivery{Message: consumer.Message{Message: outbox.Message{ID: id, Key: key}, Source: "/test"}}
}

func config(handle func(ctx context.Context, m consumer.Message) error) consumer.Config {
	return consumer.Config{
		Handle: handle, Logger: slog.New(slog.DiscardHandler),
		Backoff: relay.Backoff{Min: time.Second, Max: time.Hour, Jitter: -1},
	}
}

// during runs a consumer until fn returns, in a bubble of synctest.
func during(t *testing.T, s *source, cfg consumer.Config, extend time.Duration, fn func()) {
	t.Helper()
	cfg, err := cfg.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	r := consumer.NewRunner(cfg, s, extend)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	fn()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// after waits, and then for all others.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func want[T any](t *testing.T, what string, got, want []T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Without a place for it, what is refused is kept, its key waits, and it is tried again
// after the longest wait.
func TestRefusedMessageWithoutAPlaceIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{noPlace: true, waiting: []*consumer.Delivery{delivery("a", "1"), delivery("a", "2"), delivery("b", "3")}}
		s.waiting = append(s.waiting, &consumer.Delivery{Malformed: consumer.ErrMalformed})
		var tries atomic.Int64
		var good atomic.Bool
		var seen observer
		cfg := config(func(_ context.Context, m consumer.Message) error {
			if m.ID == "1" && !good.Load() {
				tries.Add(1)
				return consumer.Refuse(errors.New("no"))
			}
			return nil
		})
		cfg.Observer = &seen
		during(t, s, cfg, 0, func() {
			after(150 * time.Minute)
			want(t, "acknowledged", s.acked, []string{"3"})
			if n := tries.Load(); n != 3 {
				t.Errorf("it was tried %d times in two and a half hours", n)
			}
			good.Store(true)
			after(time.Hour)
			want(t, "acknowledged", s.acked, []string{"3", "1", "2"})
		})
		want(t, "given back", s.returned, []string{""})
		if seen.kept != 3+4 || seen.refused != 0 {
			t.Errorf("kept was reported %d times, refused %d times", seen.kept, seen.refused)
		}
	})
}

type observer struct {
	mu                             sync.Mutex
	handled, failed, refused, kept int
}

func (o *observer) Handled(consumer.Message, time.Duration) { o.count(&o.handled) }
func (o *observer) Failed(consumer.Message, error)          { o.count(&o.failed) }
func (o *observer) Refused(_ consumer.Message, _ error, kept bool) {
	if kept {
		o.count(&o.kept)
	} else {
		o.count(&o.refused)
	}
}

func (o *observer) count(n *int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	*n++
}

// A message that kills its process counts its deliveries, and is refused in the end.
func TestDeliveriesCountAsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		killer := delivery("a", "1")
		killer.Deliveries = 4
		s := &source{waiting: []*consumer.Delivery{killer, delivery("a", "2")}, failing: 1}
		var attempts []int
		cfg := config(func(_ context.Context, m consumer.Message) error {
			if m.ID == "2" {
				return nil
			}
			attempts = append(attempts, m.Attempt)
			return errors.New("fails")
		})
		cfg.MaxAttempts = 5
		during(t, s, cfg, 0, func() { after(time.Minute) })
		want(t, "attempts", attempts, []int{4, 5})
		want(t, "dead", s.dead, []string{"1: fails"})
		want(t, "acknowledged", s.acked, []string{"2"})
	})
}

// A refusal that fails is tried again, and not the handler.
func TestRefusalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{waiting: []*consumer.Delivery{delivery("a", "1")}}
		tries := 0
		during(t, s, config(func(context.Context, consumer.Message) error {
			tries++
			s.mu.Lock()
			s.failing = 2
			s.mu.Unlock()
			return consumer.Refuse(errors.New("no"))
		}), 0, func() { after(time.Minute) })
		want(t, "dead", s.dead, []string{"1: no"})
		if tries != 1 {
			t.Errorf("the handler ran %d times", tries)
		}
	})
}

// What is held is bounded, extended, and given back in order.
func TestWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		for i := range 10 {
			s.waiting = append(s.waiting, delivery("a", fmt.Sprint(i)))
		}
		cfg := config(func(ctx context.Context, _ consumer.Message) error {
			<-ctx.Done()
			return ctx.Err()
		})
		cfg.Prefetch, cfg.Concurrency, cfg.DrainTimeout = 4, 2, time.Minute
		began := time.Now()
		during(t, s, cfg, time.Second, func() { after(10*time.Second + 1) })
		if took := time.Since(began); took < 70*time.Second || took > 71*time.Second {
			t.Errorf("Run ended after %v", took)
		}
		want(t, "given back", s.returned, []string{"0", "1", "2", "3"})
		want(t, "asked for", s.limits, []int{4})
		if s.extended < 69 {
			t.Errorf("what was held was extended %d times in 70 seconds", s.extended)
		}
	})
}

// What belongs to a session that has ended is not begun, and not acknowledged.
func TestEndedSessionIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		session, end := context.WithCancel(t.Context())
		var released []string
		s := &source{}
		for i := range 3 {
			d := delivery("a", fmt.Sprint(i))
			d.Session = session
			d.Released = func() { released = append(released, d.Message.ID) }
			s.waiting = append(s.waiting, d)
		}
		s.waiting = append(s.waiting, delivery("a", "0 again"))
		var handled []string
		during(t, s, config(func(_ context.Context, m consumer.Message) error {
			handled = append(handled, m.ID)
			if m.ID == "0" {
				end()
				return errors.New("fails")
			}
			return nil
		}), 0, func() { after(time.Hour) })
		want(t, "handled", handled, []string{"0", "0 again"})
		want(t, "released", released, []string{"0", "1", "2"})
		want(t, "acknowledged", s.acked, []string{"0 again"})
		want(t, "given back", s.returned, nil)
	})
}

// While nothing can be received, the waits become longer.
func TestReceivingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{failing: 1 << 30}
		during(t, s, config(func(context.Context, consumer.Message) error { return nil }), 0, func() {
			after(time.Hour)
			if n := len(s.limits); n < 720 || n > 3000 {
				t.Errorf("it was tried %d times in an hour", n)
			}
			s.mu.Lock()
			s.failing, s.waiting = 0, []*consumer.Delivery{delivery("a", "1")}
			s.mu.Unlock()
			after(6 * time.Second)
			want(t, "acknowledged", s.acked, []string{"1"})
		})
	})
}

func TestRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		cfg, err := config(func(context.Context, consumer.Message) error { return nil }).Resolve()
		if err != nil {
			t.Fatal(err)
		}
		r := consumer.NewRunner(cfg, s, 0)
		done := make(chan error)
		go func() { done <- r.Run(t.Context()) }()
		synctest.Wait()
		if err := r.Run(t.Context()); !errors.Is(err, consumer.ErrRunning) {
			t.Errorf("the second Run returned %v", err)
		}
		r.Close()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
		r.Close()
		if err := r.Run(t.Context()); !errors.Is(err, consumer.ErrClosed) {
			t.Errorf("after Close Run returned %v", err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	handle := func(context.Context, consumer.Message) error { return nil }
	for name, cfg := range map[string]consumer.Config{
		"no handler":        {},
		"concurrency":       {Handle: handle, Concurrency: -1},
		"a small prefetch":  {Handle: handle, Concurrency: 3, Prefetch: 2},
		"drain":             {Handle: handle, DrainTimeout: -1},
		"backoff":           {Handle: handle, Backoff: relay.Backoff{Min: 2, Max: 1}},
		"negative prefetch": {Handle: handle, Prefetch: -1},
	} {
		if _, err := cfg.Resolve(); !errors.Is(err, consumer.ErrConfig) {
			t.Errorf("%s: Resolve returned %v", name, err)
		}
	}
	if _, err := (consumer.Config{Handle: handle}).Resolve(); err != nil {
		t.Error(err)
	}
}

func TestRefuse(t *testing.T) {
	if consumer.Refuse(nil) != nil {
		t.Error("no error is refused")
	}
	err := fmt.Errorf("wrapped: %w", consumer.Refuse(io.EOF))
	if !errors.Is(err, consumer.ErrRefused) || !errors.Is(err, io.EOF) || errors.Is(io.EOF, consumer.ErrRefused) {
		t.Errorf("%v is not what was refused", err)
	}
}

func FuzzReason(f *testing.F) {
	f.Add("a\r\nb\x00\xff")
	f.Add(strings.Repeat("\u00e4", 1000))
	f.Fuzz(func(t *testing.T, text string) {
		got := consumer.Reason(errors.New(text))
		if !utf8.ValidString(got) || len(got) > 1003 || slices.ContainsFunc([]rune(got), func(r rune) bool { return r < ' ' }) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

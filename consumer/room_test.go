package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/consumer"
)

// roomy is a Config with 16 places and 2 handlers, each of which takes a second; those of
// messages called bad fail, and are not tried again soon.
func roomy() consumer.Config {
	cfg := config(func(_ context.Context, m consumer.Message) error {
		time.Sleep(time.Second)
		if strings.HasPrefix(m.ID, "bad") {
			return errors.New("fails")
		}
		return nil
	})
	cfg.Prefetch, cfg.Concurrency, cfg.Backoff.Min = 16, 2, time.Hour
	return cfg
}

// While handlers have enough to do, the broker is asked for many at once, and they never wait.
func TestAsksForManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		for i := range 100 {
			s.waiting = append(s.waiting, delivery("", fmt.Sprint(i)))
		}
		during(t, s, roomy(), 0, func() {
			after(50*time.Second + 1)
			if len(s.acked) != 100 {
				t.Errorf("two handlers have handled %d messages in 50 seconds", len(s.acked))
			}
		})
		for _, limit := range s.limits {
			if limit < 4 {
				t.Errorf("the broker was asked for %v at once", s.limits)
				break
			}
		}
	})
}

// Where most places are taken by what waits, and handlers are idle, it is asked for few.
func TestAsksForFewWhereHandlersAreIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		for i := range 15 {
			s.waiting = append(s.waiting, delivery("a", fmt.Sprint("bad", i)))
		}
		for i := range 5 {
			s.waiting = append(s.waiting, delivery("", fmt.Sprint(i)))
		}
		during(t, s, roomy(), 0, func() { after(6 * time.Second) })
		want(t, "acknowledged", s.acked, []string{"0", "1", "2", "3", "4"})
	})
}

// It is also asked when handlers have too little to do since what they had has failed.
func TestAsksWhenHandlersBecomeIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{waiting: []*consumer.Delivery{delivery("first", "1")}}
		for i := range 15 {
			s.waiting = append(s.waiting, delivery("", fmt.Sprint("bad", i)))
		}
		s.waiting = append(s.waiting, delivery("", "2"))
		during(t, s, roomy(), 0, func() { after(time.Minute) })
		want(t, "acknowledged", s.acked, []string{"1", "2"})
	})
}

// What was asked for and may be on its way is received, however little room there is.
func TestReceivesWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		for i := range 16 {
			s.waiting = append(s.waiting, delivery("", fmt.Sprint(i)))
		}
		cfg, err := roomy().Resolve()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- consumer.NewRunner(cfg, s, 0).Run(ctx) }()
		after(500 * time.Millisecond)
		if len(s.waiting) != 0 {
			t.Errorf("%d messages that were asked for have not been received", len(s.waiting))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// slow hands over one message at a time, each after a while.
type slow struct{ source }

func (s *slow) Receive(ctx context.Context, limit int) ([]*consumer.Delivery, error) {
	time.Sleep(time.Millisecond)
	return s.source.Receive(ctx, min(limit, 1))
}

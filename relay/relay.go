package relay

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Relay publishes the messages of an outbox log.
type Relay struct {
	cfg     Config
	running atomic.Bool
	// wake has room for one signal: more would say nothing new.
	wake chan struct{}
	// look asks for the held messages to be looked at, too.
	look atomic.Bool
}

// New returns a Relay that Run starts. Its errors are ErrConfig.
func New(cfg Config) (*Relay, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Relay{cfg: cfg, wake: make(chan struct{}, 1)}, nil
}

// Run publishes until ctx ends, and then drains: it begins nothing new, waits for
// what is being published, Config.DrainTimeout at most, records the outcome in the
// log and returns nil. What then still is under way has its context cancelled, and
// the log gets another DrainTimeout; an error says that the outcome could not be
// recorded, and that messages will be published again.
//
// Run takes the cursor over from any other relay. When another relay takes it in
// turn, Run stops at once and returns an error that is ErrLeaseLost. Other errors
// of the log do not end it: it logs them and tries again.
//
// A Relay runs once at a time (ErrRunning), and may be run again.
func (r *Relay) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer r.running.Store(false)

	work, cancelWork := lingering(ctx, r.cfg.DrainTimeout)
	defer cancelWork()
	settling, cancelSettling := lingering(ctx, 2*r.cfg.DrainTimeout)
	defer cancelSettling()
	s := newSession(work, settling, r)
	defer r.cfg.Log.Subscribe(r.signal)()

	err := s.run(ctx)
	cancelWork()
	s.discardFlights()
	if errors.Is(err, ErrLeaseLost) {
		return fmt.Errorf("relay: cursor %q: %w", r.cfg.Cursor, err)
	}
	return err
}

// Wake makes a running relay look at once at the log and at the messages that it
// holds. It is for those who changed held messages (Redrive, Discard) or committed
// messages in another process; commits of this process wake it anyway. It never
// blocks.
func (r *Relay) Wake() {
	r.look.Store(true)
	r.signal()
}

func (r *Relay) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// lingering returns a context with the values of ctx that ends some time after
// ctx did.
func lingering(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-out.Done():
		}
	})
	return out, func() {
		stop()
		cancel()
	}
}

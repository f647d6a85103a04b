package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow/outbox"
)

// Relay publishes the messages of an outbox log.
type Relay struct {
	cfg     Config
	running atomic.Bool

	mu       sync.Mutex
	sessions map[*session]struct{} // to be woken
	log      string                // the identity of the log, once it is known
}

// New returns a Relay that Run starts. Its errors are ErrConfig.
func New(cfg Config) (*Relay, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Relay{cfg: cfg, sessions: map[*session]struct{}{}}, nil
}

// Run publishes until ctx ends, and then drains: it begins nothing new, waits for
// what is being published, Config.DrainTimeout at most, records the outcome in the
// log, hands its partitions over and returns nil. What then still is under way has its
// context cancelled, and the log gets another DrainTimeout; an error says that the
// outcome could not be recorded, and that messages will be published again.
//
// Run shares the cursor's partitions with all relays that are running with the same
// cursor, in this process or others, and ends for none of them. With Config.TakeOver
// it takes all partitions, and when another relay takes one in turn, it stops at once
// and returns an error that is ErrLeaseLost.
//
// ErrRestored and ErrPartitions end it too, since only people can help. Other errors
// of the log do not: it logs them and tries again.
//
// A Relay runs once at a time (ErrRunning), and may be run again.
func (r *Relay) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer r.running.Store(false)
	defer r.cfg.Log.Subscribe(r.signal)()
	err := newCrew(r).run(ctx)
	if isFinal(err) {
		return fmt.Errorf("relay: cursor %q: %w", r.cfg.Cursor, err)
	}
	return err
}

// isFinal reports whether trying again can't help.
func isFinal(err error) bool {
	return errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrRestored) || errors.Is(err, ErrPartitions)
}

// Wake makes a running relay look at once at the log and at the messages that it
// holds. It is for those who changed held messages (Redrive, Discard) or committed
// messages in another process; commits of this process wake it anyway. It never
// blocks.
func (r *Relay) Wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.sessions {
		s.look.Store(true)
		s.signal(false)
	}
}

// signal wakes all sessions.
func (r *Relay) signal(recent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.sessions {
		s.signal(recent)
	}
}

// knows compares the log of a lease with that of earlier ones.
func (r *Relay) knows(lease outbox.Lease) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.log != "" && r.log != lease.Log {
		return fmt.Errorf("relay: the log is %s, and was %s: %w", lease.Log, r.log, ErrRestored)
	}
	r.log = lease.Log
	return nil
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

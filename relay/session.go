package relay

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow/internal/pause"
	"github.com/uow-go/uow/outbox"
)

// session is a partition that the relay has, from the lease to its end. All of it
// belongs to one goroutine; the publishers' calls run beside it and come back through
// landed.
type session struct {
	*Relay
	// serving ends when nothing new is begun any more. work is the context of publishers'
	// calls, and settling that of writes to the log: both go on for a while afterwards.
	serving, work, settling context.Context

	lease outbox.Lease
	// position is how far the log was looked at; saved is what of it the log knows,
	// and unsaved is whether that is less.
	position, saved int64
	unsaved         bool
	// scanDue is whether the log may have messages after the position, and pacedUntil is
	// when it is looked at, at the earliest.
	scanDue    bool
	pacedUntil time.Time
	held       *heldSet
	streams    *streams
	// window is what the log is read through, where others may want the same of it.
	window *window

	landed  chan *flight
	fresh   *flight // the new batch that is being published
	ahead   *ahead  // what may be behind it
	retries int     // how many batches of held messages are being published

	// wake has room for one signal: more would say nothing new.
	wake chan struct{}
	// look asks for the held messages to be looked at, too.
	look atomic.Bool
	// elsewhere is whether the log may have messages that this process has not just
	// appended: then it is read, and otherwise the store may answer from memory.
	elsewhere atomic.Bool

	// skew is how much the database's clock is ahead of the relay's.
	skew time.Duration
	// confirmedAt is when the log last said that the lease stands.
	confirmedAt time.Time
	// resumeAt is when to publish again after the publisher was unavailable, for
	// the outages-th time in a row.
	resumeAt time.Time
	outages  int

	pollAt, lookAfter, trimAt time.Time
	// promoteAt is when to look for delayed messages that are due, and promotedAt when
	// that was done last.
	promoteAt, promotedAt time.Time

	// failed is why nothing may be settled any more: what is in memory is ahead of
	// the log by a settlement that the log did not take.
	failed error
}

// newSession is called when the lease has just been acquired.
func newSession(r *Relay, w *window, lease outbox.Lease) *session {
	skew := time.Duration(0)
	if !lease.Now.IsZero() {
		skew = lease.Now.Sub(r.cfg.Now())
	}
	s := &session{
		window:   w,
		Relay:    r,
		lease:    lease,
		skew:     skew,
		position: lease.Position,
		saved:    lease.Position,
		held:     newHeldSet(),
		streams:  newStreams(r.cfg.Partitions),
		scanDue:  true,
		landed:   make(chan *flight, r.cfg.Retries+1),
		wake:     make(chan struct{}, 1),
	}
	s.elsewhere.Store(true)
	return s
}

// serve publishes the partition until ctx ends and all is drained, or an operation
// fails for good, and then hands the partition over. began is when the lease was
// asked for.
func (s *session) serve(ctx context.Context, began time.Time) error {
	s.serving = ctx
	var cancelWork, cancelSettling context.CancelFunc
	s.work, cancelWork = lingering(ctx, s.cfg.DrainTimeout)
	defer cancelWork()
	s.settling, cancelSettling = lingering(ctx, 2*s.cfg.DrainTimeout)
	defer cancelSettling()
	s.enlist(true)
	defer s.enlist(false)
	s.window.open(s.lease.Partition, s.position)
	defer s.window.close(s.lease.Partition)

	err := s.run(ctx, began)
	cancelWork()
	s.discardFlights()
	s.forgetAhead()
	if s.failed == nil && s.lease.TTL > 0 {
		if err := s.cfg.Log.Release(s.settling, s.lease); err != nil {
			s.cfg.Logger.WarnContext(ctx, "relay: the lease could not be released, and has to expire",
				"cursor", s.cfg.Cursor, "partition", s.lease.Partition, "error", err)
		}
	}
	return err
}

// enlist has the session be woken, or no more.
func (s *session) enlist(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.sessions[s] = struct{}{}
	} else {
		delete(s.sessions, s)
	}
}

func (s *session) signal(recent bool) {
	if !recent {
		s.elsewhere.Store(true)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run is serve without the end of flights that an error leaves.
func (s *session) run(ctx context.Context, began time.Time) error {
	err := s.begin(ctx, began)
	if err == nil {
		err = s.loop(ctx)
	}
	if s.failed != nil || ctx.Err() == nil {
		return err
	}
	return s.drain()
}

func (s *session) begin(ctx context.Context, began time.Time) error {
	now := s.cfg.Now()
	s.confirmedAt = began
	s.pollAt = now.Add(s.jittered(s.cfg.PollInterval))
	s.trimAt = now.Add(min(s.trimInterval(), time.Minute))
	s.promoteAt = now
	return s.lookAtHeld(ctx)
}

// loop runs until ctx ended or an operation failed for good.
func (s *session) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if err := s.step(ctx); err != nil {
			return err
		}
		timer.Reset(s.untilNext())
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.wake:
			s.scanDue = true
			s.promoteAt = earlier(s.promoteAt, s.promotedAt.Add(promotePause))
		case f := <-s.landed:
			if err := s.land(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// logTime returns what the database's clock says at a time of the relay's. Times of held
// messages are all the database's.
func (s *session) logTime(t time.Time) time.Time { return t.Add(s.skew) }

// step does all that is due.
func (s *session) step(ctx context.Context) error {
	if s.look.Swap(false) {
		if err := s.lookAtHeld(ctx); err != nil {
			return err
		}
	}
	if !s.cfg.Now().Before(s.resumeAt) {
		if err := s.startFresh(ctx); err != nil {
			return err
		}
		if err := s.startRetries(ctx); err != nil {
			return err
		}
	}
	return s.upkeep(ctx)
}

// untilNext returns how long there is nothing to do unless something happens.
func (s *session) untilNext() time.Duration {
	now := s.cfg.Now()
	next := earlier(earlier(s.pollAt, s.trimAt), s.promotion())
	if renewAt, ok := s.renewAt(); ok {
		next = earlier(next, renewAt)
	}
	if (s.scanDue || s.ahead != nil) && s.fresh == nil {
		next = earlier(next, later(s.resumeAt, s.pacedUntil))
	}
	if due, ok := s.held.nextDue(s.logTime(now)); ok && s.retries < s.cfg.Retries {
		due = due.Add(-s.skew)
		if due.Before(s.resumeAt) {
			due = s.resumeAt
		}
		next = earlier(next, due)
	}
	return max(next.Sub(now), 0)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// renewAt returns when the lease must be extended, if nothing else does.
func (s *session) renewAt() (time.Time, bool) {
	return s.confirmedAt.Add(s.lease.TTL / 3), s.lease.TTL > 0
}

// sure is for how long the relay takes its lease for granted after the log has
// confirmed it.
func (s *session) sure() time.Duration {
	if s.lease.TTL > 0 {
		return min(2*s.cfg.PollInterval, s.lease.TTL/2)
	}
	return 2 * s.cfg.PollInterval
}

// unsure reports whether that is over.
func (s *session) unsure(now time.Time) bool { return now.Sub(s.confirmedAt) > s.sure() }

// confirm asks the log whether the lease still stands, and saves the position
// where only messages were passed that are not the relay's.
func (s *session) confirm() error {
	settlement := outbox.Settlement{}
	if s.unsaved {
		settlement.Position = s.position
	}
	return s.settle(settlement)
}

// settle records a settlement, however often it takes: a Settle whose answer was
// lost can be repeated.
func (s *session) settle(settlement outbox.Settlement) error {
	if s.failed != nil {
		return s.failed
	}
	now := s.cfg.Now()
	settlement.From = cmp.Or(s.saved, outbox.Beginning)
	err := s.persist(s.settling, "settle", func() error {
		return s.cfg.Log.Settle(s.settling, s.lease, settlement)
	})
	if err != nil {
		s.failed = err
		return err
	}
	s.confirmedAt = now
	if settlement.Position > 0 {
		s.saved = settlement.Position
		s.unsaved = s.saved < s.position
	}
	return nil
}

// persist does an operation of the log until it succeeds. It fails when that can't
// be, or ctx has ended.
func (r *Relay) persist(ctx context.Context, what string, op func() error) error {
	wait := Backoff{Min: 50 * time.Millisecond, Max: 5 * time.Second}.withDefaults()
	for attempt := 1; ; attempt++ {
		err := op()
		if err == nil || isFinal(err) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("relay: %s: %w", what, err)
		}
		r.cfg.Logger.WarnContext(ctx, "relay: the log failed", "cursor", r.cfg.Cursor,
			"operation", what, "attempt", attempt, "error", err)
		_ = pause.For(ctx, wait.delay(attempt, r.cfg.Random()/2)) // ctx is looked at above
	}
}

// drain lets the flights land and records what became of them.
func (s *session) drain() error {
	for s.fresh != nil || s.retries > 0 {
		if err := s.land(<-s.landed); err != nil {
			return err
		}
	}
	if s.unsaved {
		return s.confirm()
	}
	return nil
}

// discardFlights waits for flights whose outcome can't be recorded any more.
func (s *session) discardFlights() {
	for s.fresh != nil || s.retries > 0 {
		s.landing(<-s.landed)
	}
}

package relay

import (
	"context"
	"time"
)

// upkeep does what is due from time to time, and holds up no message that has just come.
func (s *session) upkeep(ctx context.Context) error {
	now := s.cfg.Now()
	if !now.Before(s.pollAt) {
		if err := s.poll(ctx, now); err != nil {
			return err
		}
	}
	if renewAt, ok := s.renewAt(); ok && !now.Before(renewAt) {
		if err := s.confirm(); err != nil {
			return err
		}
	}
	if !now.Before(s.promotion()) {
		s.promote(ctx, now)
	}
	if !now.Before(s.trimAt) {
		s.trim(ctx, now)
	}
	return nil
}

// poll looks for what nobody announces.
func (s *session) poll(ctx context.Context, now time.Time) error {
	s.pollAt = now.Add(s.jittered(s.cfg.PollInterval))
	s.scanDue = true
	s.elsewhere.Store(true)
	if !now.Before(s.lookAfter) { // also where nothing is held: an operator may have replayed something
		if err := s.lookAtHeld(ctx); err != nil {
			return err
		}
	}
	if s.unsaved || now.Sub(s.confirmedAt) > s.cfg.PollInterval/2 {
		return s.confirm()
	}
	return nil
}

// promote brings delayed messages to the log that are due. One partition's owner does
// it for all: that is enough, and any number would do no harm.
func (s *session) promote(ctx context.Context, now time.Time) {
	s.promotedAt = now
	s.promoteAt = now.Add(s.jittered(s.cfg.PollInterval))
	if s.lease.Partition != 0 {
		return
	}
	p, err := s.cfg.Log.Promote(ctx, s.cfg.BatchSize)
	switch {
	case err != nil && ctx.Err() == nil:
		s.cfg.Logger.WarnContext(ctx, "relay: delayed messages could not be looked at", "cursor", s.cfg.Cursor, "error", err)
	case p.Left:
		s.promoteAt = earlier(s.promoteAt, now.Add(p.In))
	}
	if p.Promoted > 0 {
		s.scanDue = true
		s.elsewhere.Store(true)
	}
}

// promotion returns when to look for delayed messages. What is being published goes first,
// as long as that is soon.
func (s *session) promotion() time.Time {
	if s.fresh != nil || s.retries > 0 {
		return s.promoteAt.Add(promotePause)
	}
	return s.promoteAt
}

// promotePause is how long is waited, after a look for delayed messages, before a
// commit leads to another one: the commit may have added some that are due soon.
const promotePause = time.Second

// trim deletes old messages. It only tidies up: when it fails, the next time will
// do.
func (s *session) trim(ctx context.Context, now time.Time) {
	s.trimAt = now.Add(s.jittered(s.trimInterval()))
	if s.cfg.Retention < 0 || s.lease.Partition != 0 { // one is enough
		return
	}
	n, err := s.cfg.Log.Trim(ctx, now.Add(-s.cfg.Retention), trimLimit)
	if err != nil && ctx.Err() == nil {
		s.cfg.Logger.WarnContext(ctx, "relay: trim failed", "error", err)
	}
	if n >= trimLimit {
		s.trimAt = now.Add(trimPause)
	}
}

const (
	trimLimit = 1000
	trimPause = 100 * time.Millisecond
)

func (s *session) trimInterval() time.Duration {
	return min(max(s.cfg.Retention/10, time.Minute), time.Hour)
}

// jittered returns d with up to a fifth more or less.
func (s *session) jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*s.cfg.Random()))
}

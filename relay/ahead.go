package relay

import (
	"context"

	"github.com/uow-go/uow/outbox"
)

// ahead is a scan, as a rule of what is behind the new batch, which runs while that is
// being published. Nothing of it counts before the batch has landed.
type ahead struct {
	query  outbox.Query
	cancel context.CancelFunc
	// done is closed when the rest is there.
	done     chan struct{}
	messages []outbox.Message
	next     int64
	err      error
}

// query asks for what is behind a position.
func (s *session) query(after int64) outbox.Query {
	return outbox.Query{After: after, Limit: s.cfg.BatchSize, Topics: s.cfg.Topics, Share: s.lease.Of()}
}

// scan reads the log, and forgets that others may have appended once it has read what
// they have to the end.
func (s *session) scan(ctx context.Context, a *ahead) {
	elsewhere, read := s.elsewhere.Swap(false), true
	a.query.Recent = !elsewhere
	if s.window == nil {
		a.messages, a.next, a.err = s.cfg.Log.Scan(ctx, a.query)
	} else {
		a.messages, a.next, read, a.err = s.window.scan(ctx, s.lease.Partition, a.query)
	}
	if elsewhere && (a.err != nil || !read || a.more()) {
		s.elsewhere.Store(true)
	}
}

// more reports whether the log is likely to have more: one that leaves some out may stop
// before its end and have less than a full batch.
func (a *ahead) more() bool {
	return len(a.messages) >= a.query.Limit || !a.query.All() && a.next > a.query.After
}

// lookAhead scans what is behind the batch that is being published, where there is a
// backlog. Otherwise it is better to wait until that has landed: by then there is more.
func (s *session) lookAhead() {
	ctx, cancel := context.WithCancel(s.serving)
	a := &ahead{query: s.query(s.fresh.next), cancel: cancel, done: make(chan struct{})}
	s.ahead, s.scanDue = a, false
	go func() {
		defer close(a.done)
		s.scan(ctx, a)
	}()
}

// scanned reports whether the scan has ended.
func (a *ahead) scanned() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// takeAhead returns a scan that has been made already, or is under way, from where the
// relay is now; else, or when it has failed, nil, and the log is to be scanned.
func (s *session) takeAhead() *ahead {
	a := s.ahead
	if a == nil {
		return nil
	}
	s.ahead = nil
	<-a.done
	a.cancel()
	if a.err != nil || a.query.After != s.position {
		s.scanDue = true
		s.elsewhere.Store(true)
		return nil
	}
	return a
}

// forgetAhead ends a scan that nobody wants any more.
func (s *session) forgetAhead() {
	if s.ahead != nil {
		s.ahead.cancel()
		<-s.ahead.done
	}
}

// launchAhead lets the publisher have the next batch before the one that has just landed
// is settled, so that it need not wait for the log. What is settled later is settled in
// order. A relay that is not sure of its lease does not, nor does one that stops.
func (s *session) launchAhead() {
	now := s.cfg.Now()
	if s.ahead == nil || !s.ahead.scanned() || s.serving.Err() != nil || s.unsure(now) || now.Before(s.resumeAt) || s.paced() {
		return
	}
	a := s.takeAhead()
	if a == nil {
		return
	}
	f := s.prepare(a)
	if len(f.messages) == 0 {
		s.ahead = a // nothing to publish, but perhaps to settle: in order
		return
	}
	s.scanDue = s.scanDue || f.more
	s.start(f)
}

package relay

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/uow-go/uow/outbox"
)

// flight is one call of the publisher.
type flight struct {
	messages []outbox.Message
	results  []Result

	// scanned are the messages of a new batch, skipped those of them that the
	// publisher does not get because their key is held, and next is the cursor's
	// position afterwards.
	scanned []outbox.Message
	skipped []bool
	next    int64
	// more is whether the log is likely to have more behind it.
	more bool

	// held says how messages were held that are tried again; nil in a new batch.
	held []outbox.Held
}

func (f *flight) fresh() bool { return f.held == nil }

// launch lets the publisher have a flight. A relay that can't be sure any more
// that it still has the lease, because it was paused, asks first.
func (s *session) launch(f *flight) error {
	if s.unsure(s.cfg.Now()) {
		if err := s.confirm(); err != nil {
			return err
		}
	}
	s.start(f)
	return nil
}

// start is launch of a relay that is sure. What is behind a new batch is scanned
// meanwhile.
func (s *session) start(f *flight) {
	if f.fresh() {
		s.fresh = f
		if s.cfg.Pace > 0 && len(f.scanned) < s.cfg.BatchSize {
			s.pacedUntil = s.cfg.Now().Add(s.cfg.Pace)
		}
		if f.more && s.ahead == nil {
			s.lookAhead()
		}
	} else {
		s.retries++
		s.held.flying += len(f.messages)
	}
	go func() {
		f.results = s.publish(f.messages)
		s.landed <- f
	}()
}

// landing notes that the publisher is done with a flight.
func (s *session) landing(f *flight) {
	if f.fresh() {
		s.fresh = nil
		return
	}
	s.retries--
	s.held.flying -= len(f.messages)
}

// land records what became of a flight.
func (s *session) land(f *flight) error {
	s.landing(f)
	var v verdict
	if f.fresh() {
		v = s.judgeFresh(f)
		s.launchAhead()
	} else {
		v = s.judgeRetried(f)
	}
	return s.record(v)
}

// record settles a verdict and tells of it. The memory of what is held is ahead of
// the log until then; it is not looked at when the log refuses.
func (s *session) record(v verdict) error {
	if !v.empty() {
		if err := s.settle(v.settlement); err != nil {
			return err
		}
	}
	s.tell(v)
	return nil
}

// publish calls the publisher, and puts right what it should not do.
func (s *session) publish(batch []outbox.Message) (results []Result) {
	ctx, cancel := context.WithTimeout(s.work, s.cfg.PublishTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			results = padded(nil, len(batch), &PanicError{Value: p, Stack: debug.Stack()})
		}
	}()
	results = s.cfg.Publisher.Publish(ctx, batch)
	if len(results) != len(batch) {
		err := fmt.Errorf("relay: the publisher gave %d results for %d messages", len(results), len(batch))
		results = padded(nil, len(batch), err)
	}
	return results
}

// padded returns n results, those missing as unknown because of err.
func padded(results []Result, n int, err error) []Result {
	for len(results) < n {
		results = append(results, Result{Outcome: Unknown, Err: err})
	}
	return results
}

// startFresh reads the log and publishes what is new, unless a new batch is being
// published.
func (s *session) startFresh(ctx context.Context) error {
	if s.fresh != nil || s.paced() {
		return nil
	}
	a := s.takeAhead()
	if a == nil && !s.scanDue {
		return nil
	}
	if a == nil {
		a = &ahead{query: s.query(s.position)}
		err := s.persist(ctx, "scan", func() error {
			s.scan(ctx, a)
			return a.err
		})
		if err != nil {
			return err
		}
		s.scanDue = false
	}
	s.scanDue = s.scanDue || a.more()
	if len(a.messages) == 0 {
		s.unsaved = s.unsaved || a.next > s.position
		s.position = a.next
		return nil
	}
	f := s.prepare(a)
	if len(f.messages) == 0 {
		return s.land(f)
	}
	return s.launch(f)
}

// paced reports whether it is too early for a new batch.
func (s *session) paced() bool { return s.cfg.Pace > 0 && s.cfg.Now().Before(s.pacedUntil) }

// prepare makes a new batch, without what has to wait for a held key.
func (s *session) prepare(a *ahead) *flight {
	scanned, skipped := a.messages, 0
	f := &flight{scanned: scanned, next: a.next, more: a.more(), skipped: make([]bool, len(scanned))}
	for i := range scanned {
		if s.held.get(slotOfMessage(&scanned[i])) != nil {
			f.skipped[i] = true
			skipped++
		}
	}
	if skipped == 0 {
		f.messages = scanned
		return f
	}
	f.messages = make([]outbox.Message, 0, len(scanned)-skipped)
	for i := range scanned {
		if !f.skipped[i] {
			f.messages = append(f.messages, scanned[i])
		}
	}
	return f
}

// startRetries publishes held messages that are due.
func (s *session) startRetries(ctx context.Context) error {
	for s.retries < s.cfg.Retries {
		now := s.logTime(s.cfg.Now())
		if due, ok := s.held.nextDue(now); !ok || due.After(now) {
			return nil
		}
		f := &flight{held: []outbox.Held{}}
		if err := s.collectDue(ctx, f, now); err != nil {
			return err
		}
		if err := s.collectQueue(ctx, f, now); err != nil {
			return err
		}
		if len(f.messages) == 0 {
			continue // what was due is not held any more
		}
		if err := s.launch(f); err != nil {
			return err
		}
	}
	return nil
}

// collectDue adds the first messages of keys whose time has come. Those behind
// them stay until these are delivered: a key that goes on failing costs one
// message each time.
func (s *session) collectDue(ctx context.Context, f *flight, now time.Time) error {
	if s.held.due(now) == nil {
		return nil
	}
	// Those being published are due in the log, too.
	limit := s.cfg.BatchSize + s.held.flying
	rows, err := s.fetchHeld(ctx, outbox.HeldFilter{State: outbox.Retrying, DueAt: now, Limit: limit})
	if err != nil {
		return err
	}
	for _, row := range rows {
		if len(f.messages) == s.cfg.BatchSize {
			return nil
		}
		at := slotOf(row.Key, row.Position)
		e := s.held.get(at)
		if e != nil && e.phase == flying {
			continue
		}
		// Another one than the relay has held is an operator's, before those that it knows of.
		more := row.Key != "" && (e == nil || e.more || e.first != row.Position)
		s.held.set(at, flying, time.Time{}).more = more
		f.add(row)
	}
	if len(rows) == limit {
		return nil
	}
	// What is left was changed by an operator.
	for e := s.held.due(now); e != nil; e = s.held.due(now) {
		if e.slot.key == "" {
			s.held.remove(e)
		} else {
			s.held.set(e.slot, continuing, time.Time{})
		}
	}
	return nil
}

// collectQueue adds the messages of keys whose first message was delivered or
// discarded, as many as there are.
func (s *session) collectQueue(ctx context.Context, f *flight, now time.Time) error {
	for len(s.held.queue) > 0 && len(f.messages) < s.cfg.BatchSize {
		e := s.held.queue[0]
		limit := s.cfg.BatchSize - len(f.messages)
		rows, err := s.fetchHeld(ctx, outbox.HeldFilter{Key: &e.slot.key, Limit: limit})
		switch {
		case err != nil:
			return err
		case len(rows) == 0:
			s.held.remove(e)
		case rows[0].State == outbox.Parked:
			s.held.set(e.slot, parked, time.Time{}).more = true
		case rows[0].State == outbox.Retrying && rows[0].NextAt.After(now):
			s.held.set(e.slot, retrying, rows[0].NextAt).more = true
		default:
			more := len(rows) == limit
			for i := range rows {
				if i > 0 && rows[i].State != outbox.Waiting { // it has failed, and what is before it was replayed
					more = true
					break
				}
				f.add(rows[i])
			}
			s.held.set(e.slot, flying, time.Time{}).more = more
		}
	}
	return nil
}

// has reports whether a flight, which may be nil, has messages of a slot.
func (f *flight) has(at slot) bool {
	return f != nil && slices.ContainsFunc(f.messages, func(m outbox.Message) bool { return slotOfMessage(&m) == at })
}

func (f *flight) add(row outbox.Held) {
	f.held = append(f.held, row)
	f.messages = append(f.messages, row.Message)
}

func (s *session) fetchHeld(ctx context.Context, filter outbox.HeldFilter) (rows []outbox.Held, err error) {
	if filter.Key == nil {
		filter.Share = s.lease.Of()
	}
	err = s.persist(ctx, "read held messages", func() (err error) {
		rows, err = s.cfg.Log.Held(ctx, s.cfg.Cursor, filter)
		return err
	})
	return rows, err
}

// lookAtHeld makes the memory of what is held like the log, whoever changed it.
func (s *session) lookAtHeld(ctx context.Context) error {
	began := s.cfg.Now()
	rows, err := s.fetchHeld(ctx, outbox.HeldFilter{Heads: true})
	if err != nil {
		return err
	}
	seen := make(map[slot]bool, len(s.held.entries))
	for _, row := range rows {
		at := slotOf(row.Key, row.Position)
		if seen[at] {
			continue
		}
		seen[at] = true
		e := s.held.get(at)
		if e != nil && e.phase == flying || e == nil && s.fresh.has(at) {
			continue // what was replayed of a key that is being published waits for the next look
		}
		s.held.set(at, phaseOf(row.State), row.NextAt).more = row.Key != ""
	}
	for at, e := range s.held.entries {
		if !seen[at] && e.phase != flying {
			s.held.remove(e)
		}
	}
	// Where very much is held, looking must not become all that the relay does.
	now := s.cfg.Now()
	s.lookAfter = now.Add(20 * now.Sub(began))
	return nil
}

func phaseOf(state outbox.HoldState) phase {
	switch state {
	case outbox.Retrying:
		return retrying
	case outbox.Parked:
		return parked
	}
	return continuing
}

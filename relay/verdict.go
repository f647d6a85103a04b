package relay

import (
	"errors"
	"strings"
	"time"

	"github.com/uow-go/uow/outbox"
)

// verdict is what becomes of the messages of a flight.
type verdict struct {
	settlement outbox.Settlement
	// passed are the messages of a new batch that the settlement passes.
	passed []outbox.Message
	// tried are the messages that the publisher tried, to tell the observer.
	tried []tried
	// misordered is how many messages were stored after one of their key was not.
	misordered int
	outage     error
}

type tried struct {
	message *outbox.Message
	result  Result
	// hold is what the message is held as; nil where it was delivered.
	hold *outbox.Hold
}

func (v *verdict) empty() bool {
	return v.settlement.Position == 0 && len(v.settlement.Hold) == 0 && len(v.settlement.Release) == 0
}

// judgeFresh decides on a new batch. The cursor passes all of it; what was not
// delivered is held, and so is what comes behind in its key.
func (s *session) judgeFresh(f *flight) verdict {
	v := verdict{settlement: outbox.Settlement{Position: f.next}, passed: f.scanned, tried: make([]tried, 0, len(f.messages))}
	now, worked := s.cfg.Now(), f.worked()
	results := f.results
	for i := range f.scanned {
		m := &f.scanned[i]
		result := Result{Outcome: NotTried}
		if !f.skipped[i] {
			result, results = results[0], results[1:]
		}
		hold := outbox.Hold{Position: m.Position, Key: m.Key, State: outbox.Waiting, Since: s.logTime(now)}
		at := slotOfMessage(m)
		if e := s.held.get(at); e != nil {
			e.more = true
			v.settlement.Hold = append(v.settlement.Hold, hold)
			v.countMisordered(result)
			continue
		}
		if result.Outcome == Unavailable {
			s.unavailable(&v, result, now)
			v.settlement.Position, v.passed = s.stopBefore(f, i), f.scanned[:i]
			break
		}
		if result.Outcome.Delivered() {
			v.tried = append(v.tried, tried{message: m, result: result})
			continue
		}
		held := s.hold(hold, result, worked || f.skipped[i], now)
		e := s.held.set(at, phaseOf(held.State), held.NextAt)
		e.more, e.first = false, m.Position
		v.settlement.Hold = append(v.settlement.Hold, held)
		v.tried = append(v.tried, tried{message: m, result: result, hold: &held})
	}
	s.recovered(&v)
	if v.settlement.Position > 0 {
		s.position = v.settlement.Position
	}
	return v
}

// stopBefore returns the cursor's position before the message at i of a batch, 0
// where that is where it is already, and has the log read again from there.
func (s *session) stopBefore(f *flight, i int) int64 {
	s.scanDue = true
	s.elsewhere.Store(true)
	if i == 0 {
		return 0
	}
	return f.scanned[i-1].Position
}

// judgeRetried decides on held messages that were tried again. A key goes on until
// the first of its messages that was not delivered.
func (s *session) judgeRetried(f *flight) verdict {
	var v verdict
	now, worked := s.cfg.Now(), f.worked()
	stopped := make(map[slot]bool)
	for i, row := range f.held {
		at, result := slotOf(row.Key, row.Position), f.results[i]
		if stopped[at] {
			s.held.get(at).more = true
			v.countMisordered(result)
			continue
		}
		if result.Outcome.Delivered() {
			v.settlement.Release = append(v.settlement.Release, row.Position)
			v.tried = append(v.tried, tried{message: &f.held[i].Message, result: result})
			continue
		}
		if result.Outcome == Unavailable {
			s.unavailable(&v, result, now)
		}
		hold := s.hold(row.Hold, result, worked, now)
		s.held.set(at, phaseOf(hold.State), hold.NextAt).first = row.Position
		stopped[at] = true
		v.settlement.Hold = append(v.settlement.Hold, hold)
		v.tried = append(v.tried, tried{message: &f.held[i].Message, result: result, hold: &hold})
	}
	for _, row := range f.held {
		if at := slotOf(row.Key, row.Position); !stopped[at] {
			stopped[at] = true // once is enough
			s.goOn(s.held.get(at))
		}
	}
	s.recovered(&v)
	return v
}

// goOn decides on a slot all of whose published messages were delivered.
func (s *session) goOn(e *entry) {
	if e.more {
		s.held.set(e.slot, continuing, time.Time{})
		return
	}
	s.held.remove(e)
}

// worked reports whether the publisher tried any message.
func (f *flight) worked() bool {
	for _, r := range f.results {
		if r.Outcome != NotTried {
			return true
		}
	}
	return false
}

// hold decides how a message is held that was not delivered.
func (s *session) hold(h outbox.Hold, r Result, worked bool, now time.Time) outbox.Hold {
	h.State = outbox.Retrying
	wait := time.Duration(0)
	switch r.Outcome {
	case NotTried:
		if !worked { // it may never
			wait = s.cfg.Backoff.Min
		}
	case Unavailable:
		wait = s.resumeAt.Sub(now)
		h.Reason = reason(r)
	case Refused:
		h.Attempts++
		h.State, h.Reason = outbox.Parked, reason(r)
	default:
		h.Attempts++
		h.Reason = reason(r)
		wait = max(s.cfg.Backoff.delay(h.Attempts, s.cfg.Random()), r.After)
		if s.cfg.MaxAttempts > 0 && h.Attempts >= s.cfg.MaxAttempts {
			h.State = outbox.Parked
		}
	}
	h.NextAt = time.Time{}
	if h.State == outbox.Retrying {
		// Stores keep microseconds; rounding up would make it due too late.
		h.NextAt = s.logTime(now).Add(wait).UTC().Truncate(time.Microsecond)
	}
	return h
}

// unavailable makes the relay pause, unless it does already.
func (s *session) unavailable(v *verdict, r Result, now time.Time) {
	if v.outage != nil || now.Before(s.resumeAt) {
		return
	}
	v.outage = r.Err
	if v.outage == nil {
		v.outage = errors.New("relay: publisher is unavailable")
	}
	s.outages++
	s.resumeAt = now.Add(max(s.cfg.Backoff.delay(s.outages, s.cfg.Random()), r.After))
}

// recovered ends an outage when something was delivered.
func (s *session) recovered(v *verdict) {
	if v.outage != nil {
		return
	}
	for _, t := range v.tried {
		if t.result.Outcome.Delivered() {
			s.outages = 0
			return
		}
	}
}

func (v *verdict) countMisordered(r Result) {
	if r.Outcome.Delivered() {
		v.misordered++
	}
}

// maxReason is how many bytes of a reason are kept.
const maxReason = 500

func reason(r Result) string {
	if r.Err == nil {
		return r.Outcome.String()
	}
	text := r.Err.Error()
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	return strings.ToValidUTF8(text, "?")
}

// tell tells the observer and the logger of a verdict that was recorded.
func (s *session) tell(v verdict) {
	s.passStreams(v.passed)
	now, logger := s.cfg.Now(), s.cfg.Logger.With("cursor", s.cfg.Cursor)
	if v.outage != nil {
		logger.Warn("relay: publisher is unavailable", "until", s.resumeAt, "error", v.outage)
	}
	if v.misordered > 0 {
		logger.Error("relay: the publisher stored messages after one of their key that was not stored",
			"messages", v.misordered)
	}
	for _, t := range v.tried {
		switch t.result.Outcome {
		case Stored, Duplicate:
			s.cfg.Observer.Delivered(*t.message, now.Sub(t.message.CreatedAt))
			continue
		case NotTried, Unavailable:
			continue
		}
		s.cfg.Observer.Failed(*t.message, t.hold.Attempts, t.result)
		attrs := []any{"id", t.message.ID, "key", t.message.Key, "topic", t.message.Topic,
			"attempt", t.hold.Attempts, "reason", t.hold.Reason}
		var panicked *PanicError
		if errors.As(t.result.Err, &panicked) {
			logger.Error("relay: publisher panicked", append(attrs, "stack", string(panicked.Stack))...)
		}
		if t.hold.State == outbox.Parked {
			s.cfg.Observer.Parked(*t.message, t.hold.Reason)
			logger.Warn("relay: message parked", attrs...)
			continue
		}
		logger.Info("relay: message not published", attrs...)
	}
}

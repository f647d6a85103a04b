package consumer

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// settle works on a delivery until it is done with: acknowledged, refused, or void. It
// reports false when Run is to stop before that.
func (r *runner) settle(d *Delivery) bool {
	m := d.Message
	m.Attempt = max(d.Deliveries, 1)
	reason := d.Malformed
	for tries := 1; ; tries, m.Attempt = tries+1, m.Attempt+1 {
		wait := r.cfg.Backoff.Delay(tries)
		if reason == nil {
			ran, took, err := r.attempt(d, m)
			switch {
			case !ran:
				return isClosed(d.ended())
			case err == nil:
				r.acknowledge(d, m, took)
				return true
			case !errors.Is(err, ErrRefused) && (r.cfg.MaxAttempts < 0 || m.Attempt < r.cfg.MaxAttempts):
				r.cfg.Observer.Failed(m, err)
				r.cfg.Logger.Warn("consumer: a message is tried again", "id", m.ID, "key", m.Key, "attempt", m.Attempt, "wait", wait, "error", err)
			default:
				reason = err
			}
		}
		if reason != nil {
			err := r.refuse(d, m, reason)
			if err == nil {
				return true
			}
			if errors.Is(err, ErrNoPlace) { // it is kept, and may go better some day
				reason, wait = d.Malformed, r.cfg.Backoff.Delay(math.MaxInt)
			}
		}
		if !pause(wait, r.stopped, d.ended()) {
			return isClosed(d.ended())
		}
	}
}

// attempt runs the handler, unless Run is to stop or the delivery is void.
func (r *runner) attempt(d *Delivery, m Message) (ran bool, took time.Duration, err error) {
	if !r.takeSlot(d) {
		return false, 0, nil
	}
	defer func() { <-r.slots }()
	if isClosed(r.stopped) || isClosed(d.ended()) {
		return false, 0, nil
	}
	began := time.Now()
	done := make(chan error, 1)
	go func() { // which a handler may end
		err := errors.New("consumer: the handler has ended its goroutine")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("consumer: the handler panicked: %v", p)
			}
			done <- err
		}()
		err = r.cfg.Handle(r.work, m)
	}()
	err = <-done
	return true, time.Since(began), err
}

// takeSlot waits until a message may be handled, and reports whether it may.
func (r *runner) takeSlot(d *Delivery) bool {
	r.ready.Add(1)
	defer func() {
		if int(r.ready.Add(-1)) < r.cfg.Concurrency {
			r.look()
		}
	}()
	select {
	case r.slots <- struct{}{}:
		return true
	case <-r.stopped:
	case <-d.ended():
	}
	return false
}

func (r *runner) acknowledge(d *Delivery, m Message, took time.Duration) {
	if err := r.source.Ack(r.broker, d); err != nil {
		r.cfg.Logger.Warn("consumer: a message was handled, and can't be acknowledged: it comes again", "id", m.ID, "key", m.Key, "error", err)
		return
	}
	r.cfg.Observer.Handled(m, took)
}

// refuse returns nil when the message is where refused ones go.
func (r *runner) refuse(d *Delivery, m Message, reason error) error {
	err := r.source.Refuse(r.broker, d, reason)
	switch {
	case err == nil:
		r.cfg.Observer.Refused(m, reason, false)
		r.cfg.Logger.Error("consumer: a message was refused", "id", m.ID, "key", m.Key, "attempt", m.Attempt, "reason", reason)
	case errors.Is(err, ErrNoPlace):
		r.cfg.Observer.Refused(m, reason, true)
		r.cfg.Logger.Error("consumer: a message is refused and kept: there is no place for it", "id", m.ID, "key", m.Key, "attempt", m.Attempt, "reason", reason)
	default:
		r.cfg.Logger.Error("consumer: a refused message can't be put away", "id", m.ID, "key", m.Key, "reason", reason, "error", err)
	}
	return err
}

package inbox

import (
	"context"
	"errors"
	"time"
)

// Observer is told what became of deliveries, for metrics. It is called by the goroutine
// that called Handle, before that returns, and from many of them at once. It should be
// quick. Module uowotel has one.
type Observer interface {
	Handled(ctx context.Context, d Delivery)
}

// Delivery is a call of Handle, or HandleResult, that has ended.
type Delivery struct {
	// Consumer is Config.Consumer.
	Consumer string
	Message  Message
	// Receipt and Err are what was returned. Of a handler that panicked Err says so.
	Receipt Receipt
	Err     error
	// Duration is how long it took: waiting for other deliveries, the handler, the
	// commit, and all attempts.
	Duration time.Duration
}

// Outcome says in a word what became of a delivery: "handled", "duplicate", or why it was
// refused: "invalid", "too_old", "gap", "late", and "failed" for all else.
func (d Delivery) Outcome() string {
	switch {
	case d.Err == nil && d.Receipt.Duplicate:
		return "duplicate"
	case d.Err == nil:
		return "handled"
	case errors.Is(d.Err, ErrInvalid):
		return "invalid"
	case errors.Is(d.Err, ErrTooOld):
		return "too_old"
	case errors.Is(d.Err, ErrGap):
		return "gap"
	case errors.Is(d.Err, ErrLate):
		return "late"
	}
	return "failed"
}

// errNoReturn is what an observer is told of a handler that panicked.
var errNoReturn = errors.New("inbox: the handler did not return")

// observe tells the observer of a delivery that has ended.
func (in *Inbox) observe(ctx context.Context, m Message, receipt Receipt, err error, began time.Time) {
	if in.cfg.Observer != nil {
		in.cfg.Observer.Handled(ctx, Delivery{in.cfg.Consumer, m, receipt, err, time.Since(began)})
	}
}

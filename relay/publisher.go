package relay

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/uow-go/uow/outbox"
)

// Publisher hands messages to a broker, or to whatever receives them.
//
// Publish sends a batch and returns one Result per message, in the batch's order.
// It returns when each of them is known, and soon after ctx ended: by then it has
// stopped sending. It may be called from several goroutines at once, but never
// for one ordering key at the same time.
//
// The messages of an ordering key (Message.Key, when it is not empty) come in
// order and must be stored in that order: a message may be stored only when all
// earlier messages of its key are. A publisher whose transport can't promise that
// for messages that are under way together (by an atomic batch, or sequence
// numbers that the broker checks) sends the next message of a key only after the
// one before is stored, and at the first one that is not it answers NotTried for
// the rest of the key. Each does this for any transport that takes one message at
// a time.
type Publisher interface {
	Publish(ctx context.Context, batch []outbox.Message) []Result
}

// PublisherFunc makes a Publisher of a function.
type PublisherFunc func(ctx context.Context, batch []outbox.Message) []Result

// Publish calls the function.
func (f PublisherFunc) Publish(ctx context.Context, batch []outbox.Message) []Result {
	return f(ctx, batch)
}

// Result is what became of one message.
type Result struct {
	Outcome Outcome
	// Err is why the message was not stored. Its text is kept with the message
	// and shown to operators: it must not contain secrets.
	Err error
	// After is how long to wait at least before the next attempt, when the
	// receiver said so. It counts for Retry and Unavailable.
	After time.Duration
}

// Outcome says what became of a message.
type Outcome uint8

// The outcomes.
const (
	// Unknown means that the message was sent and the answer is lost: it may be
	// stored, or become so. It is sent again with the same id, and its key is held
	// until then.
	Unknown Outcome = iota
	// Stored means that the receiver has confirmed the message.
	Stored
	// Duplicate means that the receiver had the message already.
	Duplicate
	// Refused means that the receiver will never take the message. It is parked
	// without further attempts.
	Refused
	// Retry means that the message was not stored this time.
	Retry
	// NotTried means that the message was not sent, because of an earlier message
	// of its key or because the time was over. It does not count as an attempt.
	NotTried
	// Unavailable means that nothing can be published at all for now, whatever the
	// message: the broker is gone. The relay stops reading the log and comes back
	// after a pause; no attempt is counted, and an outage parks nothing. Messages
	// of the batch that come after the first unavailable one are sent again, even
	// when they were stored. A publisher that serves several destinations must not
	// answer this for one of them.
	Unavailable
)

// Delivered reports whether the relay is done with the message.
func (o Outcome) Delivered() bool { return o == Stored || o == Duplicate }

// String returns the outcome's name.
func (o Outcome) String() string {
	switch o {
	case Unknown:
		return "unknown"
	case Stored:
		return "stored"
	case Duplicate:
		return "duplicate"
	case Refused:
		return "refused"
	case Retry:
		return "retry"
	case NotTried:
		return "not tried"
	case Unavailable:
		return "unavailable"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// Observer is told what becomes of messages, for metrics. It is called after the log
// has recorded it, by one goroutine at a time, and must not block. A message is
// reported again when it is sent again.
type Observer interface {
	// Delivered tells of a message that the publisher stored, and of how long ago
	// its unit was.
	Delivered(m outbox.Message, lag time.Duration)
	// Failed tells of an attempt that failed, counted from 1, and what it
	// answered.
	Failed(m outbox.Message, attempt int, r Result)
	// Parked tells of a message that needs Redrive or Discard from now on, after
	// Failed has told of its last attempt.
	Parked(m outbox.Message, reason string)
	// Disordered tells of a message that the cursor has passed, delivered or held, and
	// that is not the next of its stream: see Streams in the documentation of the
	// package.
	Disordered(d Disorder)
}

type nopObserver struct{}

func (nopObserver) Delivered(outbox.Message, time.Duration) {}
func (nopObserver) Failed(outbox.Message, int, Result)      {}
func (nopObserver) Parked(outbox.Message, string)           {}
func (nopObserver) Disordered(Disorder)                     {}

// sharedObserver lets one partition at a time tell an observer.
type sharedObserver struct {
	mu sync.Mutex
	to Observer
}

// Delivered implements Observer.
func (o *sharedObserver) Delivered(m outbox.Message, lag time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to.Delivered(m, lag)
}

// Failed implements Observer.
func (o *sharedObserver) Failed(m outbox.Message, attempt int, r Result) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to.Failed(m, attempt, r)
}

// Parked implements Observer.
func (o *sharedObserver) Parked(m outbox.Message, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to.Parked(m, reason)
}

// Disordered implements Observer.
func (o *sharedObserver) Disordered(d Disorder) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to.Disordered(d)
}

// oneAtATime makes a source of random numbers safe for several goroutines.
func oneAtATime(random func() float64) func() float64 {
	var mu sync.Mutex
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return random()
	}
}

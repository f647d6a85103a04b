package consumer

import (
	"context"
	"errors"
)

// ErrNoPlace is returned by Source.Refuse when there is no place for refused messages.
var ErrNoPlace = errors.New("consumer: there is no place for refused messages")

// Source is a broker, as a Runner needs it. All but Receive are called from several goroutines.
// Each bounds what it does by itself, besides by its context.
type Source interface {
	// Receive waits for deliveries, and returns at most limit of them, in the broker's
	// order; none is no error. It returns when ctx ends. After an error it is called again,
	// a little later, and connects again.
	Receive(ctx context.Context, limit int) ([]*Delivery, error)
	// Extend says that these are being worked on, in the order in which they came.
	Extend(ctx context.Context, held []*Delivery) error
	// Ack says that the message was handled.
	Ack(ctx context.Context, d *Delivery) error
	// Refuse puts the message where refused ones go, with the reason, and acknowledges it
	// when it is there for certain; or it returns ErrNoPlace.
	Refuse(ctx context.Context, d *Delivery, reason error) error
	// Return gives back what was not handled, in the order in which it came: it is to be
	// delivered again, and to come before what follows it where the broker can do that. So
	// does what was received and not returned by Receive. It is called once, at the end.
	Return(ctx context.Context, held []*Delivery) error
}

// Delivery is a message that a broker has delivered, once.
type Delivery struct {
	// Message is the message; of one that is Malformed it has the payload only.
	Message Message
	// Malformed says why this is no message of a publisher.
	Malformed error
	// Deliveries is how often the broker has delivered the message, this time included; 0
	// when that is not known.
	Deliveries int
	// Session ends when the delivery can't be acknowledged any more, since the broker will
	// deliver, or has delivered, the message again. It is not handled then unless that
	// has begun. Nil: it never does.
	Session context.Context
	// Released, when it is set, is called once, when the delivery was acknowledged,
	// refused, returned or given up.
	Released func()
	// Token is the Source's own.
	Token any
}

// ended is closed when the delivery can't be acknowledged any more.
func (d *Delivery) ended() <-chan struct{} {
	if d.Session == nil {
		return nil
	}
	return d.Session.Done()
}

// lane is the name of the order that the message is in; empty for none.
func (d *Delivery) lane() string {
	if d.Malformed != nil || d.Message.Key == "" {
		return ""
	}
	return d.Message.Source + "\x00" + d.Message.Key
}

package inbox

import (
	"context"
	"errors"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

// Handler returns what a consumer of a broker calls for each message
// (consumer.Config.Handle): Handle with fn, after which the message is acknowledged. What
// no other delivery can make right (ErrInvalid, ErrTooOld, ErrLate) is refused for
// good, as fn can do by consumer.Refuse; ErrGap and all else is tried again.
func (in *Inbox) Handler(fn func(ctx context.Context, u *uow.Unit, m outbox.Message) error) func(ctx context.Context, m consumer.Message) error {
	return func(ctx context.Context, m consumer.Message) error {
		_, err := in.Handle(ctx, FromOutbox(m.Source, m.Message), func(ctx context.Context, u *uow.Unit) error {
			return fn(ctx, u, m.Message)
		})
		for _, final := range []error{ErrInvalid, ErrTooOld, ErrLate} {
			if errors.Is(err, final) {
				return consumer.Refuse(err)
			}
		}
		return err
	}
}

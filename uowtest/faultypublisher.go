package uowtest

import (
	"context"
	"errors"
	"slices"

	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay" // the kit has a type of that name
)

// FaultyPublisher returns a publisher between which and the relay faults happen.
// Where Around returns an error, the messages of a batch that was published have
// the outcome Unknown, and those of one that was not have Retry, or Unavailable
// when the error is ErrUnavailable.
func FaultyPublisher(p relays.Publisher, f Faults) relays.Publisher {
	return relays.PublisherFunc(func(ctx context.Context, batch []outbox.Message) (results []relays.Result) {
		outcome := relays.Retry
		err := f.around(ctx, Call{Method: "Publish", Messages: batch}, func() error {
			results = p.Publish(ctx, batch)
			outcome = relays.Unknown
			return nil
		})
		switch {
		case err == nil && results != nil:
			return results
		case outcome == relays.Retry && errors.Is(err, ErrUnavailable):
			outcome = relays.Unavailable
		}
		return slices.Repeat([]relays.Result{{Outcome: outcome, Err: err}}, len(batch))
	})
}

// ErrUnavailable makes a publisher that an Around returns it for answer that
// nothing can be published for now.
var ErrUnavailable = errors.New("uowtest: the broker is gone, on purpose")

package outbox

import (
	"errors"
	"fmt"

	"github.com/uow-go/uow"
)

// ErrUnsupported is returned by Of when the store has no outbox.
var ErrUnsupported = errors.New("outbox: the store has no outbox")

// Append adds messages to the unit: its commit stores them, in order, together
// with everything else, and its rollback forgets them. One whose payload is larger than
// uow.Config.MaxPayload is uow.ErrTooLarge, and then none is added. Fields that the log gives
// (Position, CreatedAt) are ignored, and an empty ID is filled in.
func Append(u *uow.Unit, messages ...Message) error {
	for i, m := range messages {
		if m.Type == "" {
			return fmt.Errorf("outbox: message %d of %d has no Type", i+1, len(messages))
		}
		if !m.At.IsZero() && (m.At.Year() < 1970 || m.At.Year() > 9999) {
			return fmt.Errorf("outbox: message %d of %d is delayed until the year %d", i+1, len(messages), m.At.Year())
		}
	}
	return u.Append(messages...)
}

// Of returns the log of a database, for a relay.
func Of(db *uow.DB) (Log, error) {
	if log, ok := db.Store().(Log); ok {
		return log, nil
	}
	return nil, fmt.Errorf("%w: %T", ErrUnsupported, db.Store())
}

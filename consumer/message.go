package consumer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/uow-go/uow/outbox"
)

// ErrRefused is what errors.Is finds in what Refuse returns.
var ErrRefused = errors.New("consumer: the message is refused")

// ErrMalformed is what errors.Is finds in the reason for which something was refused that
// is no message of a publisher.
var ErrMalformed = errors.New("consumer: this is no message of a publisher")

// Message is what a broker has delivered.
type Message struct {
	outbox.Message
	// Source says which system the message is of: the Source of its publisher. IDs are
	// unique within it.
	Source string
	// Attempt counts how often the message was tried, this time included, as far as it is
	// known: that it was delivered to other processes before is known from some brokers.
	Attempt int
}

// Refuse returns an error with which a handler says that no other attempt will go better:
// the message goes where refused messages go. An err that is nil stays nil.
func Refuse(err error) error {
	if err == nil {
		return nil
	}
	return refusedError{err}
}

type refusedError struct{ err error }

func (e refusedError) Error() string        { return e.err.Error() }
func (e refusedError) Unwrap() error        { return e.err }
func (e refusedError) Is(target error) bool { return target == ErrRefused }

// maxReason is how many bytes of an error are kept with a refused message.
const maxReason = 1000

// Reason returns the text of an error as it is kept with a refused message: one line of
// valid text, with an end.
func Reason(err error) string {
	text := strings.ToValidUTF8(fmt.Sprint(err), "\uFFFD")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

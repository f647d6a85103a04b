package inbox

import (
	"errors"
	"fmt"
)

// Errors that errors.Is can ask for. None of them is one of a plain duplicate, which
// is no error. All of them mean that nothing happened.
var (
	// ErrInvalid is returned for a message that no delivery can make right: it has no
	// ID, or a time or sequence that can't be kept.
	ErrInvalid = errors.New("inbox: the message is not valid")

	// ErrTooOld is returned for a message that has no mark and is not newer than
	// marks that Trim has deleted: nobody knows whether it was handled.
	ErrTooOld = errors.New("inbox: the message is older than what the inbox remembers")

	// ErrGap is what errors.Is finds in the *OrderError of a message that came before
	// the one it follows. Another delivery, after that one, may go well.
	ErrGap = errors.New("inbox: a message before this one is missing")

	// ErrLate is what errors.Is finds in the *OrderError of a message that came after
	// one that follows it. Another delivery will not go better.
	ErrLate = errors.New("inbox: a message after this one has been handled")

	// ErrNoResult is returned by HandleResult for a duplicate that was handled without
	// a result, by Handle.
	ErrNoResult = errors.New("inbox: the message was handled without a result")
)

// OrderError refuses a message that is not the next of its stream: ErrGap or ErrLate.
type OrderError struct {
	// Source and Stream are those of the message.
	Source, Stream string
	// Sequence is that of the message, and Last the greatest of its stream that was
	// handled; 0 for none.
	Sequence, Last int64
}

// Error names the stream, the message and what was handled last.
func (e *OrderError) Error() string {
	reason := ErrGap
	if e.Is(ErrLate) {
		reason = ErrLate
	}
	return fmt.Sprintf("%v: stream %q of %q: message %d came after %d", reason, e.Stream, e.Source, e.Sequence, e.Last)
}

// Is tells ErrGap and ErrLate.
func (e *OrderError) Is(target error) bool {
	return target == ErrLate && e.Sequence <= e.Last || target == ErrGap && e.Sequence > e.Last
}

package outbox

import (
	"context"
	"errors"
	"time"
)

// ErrLeaseLost is returned by Log.Settle when another relay has taken the cursor
// since. The relay must stop at once; what it has published in
// the meantime will be published again by the other, with the same ids.
var ErrLeaseLost = errors.New("outbox: lease lost")

// ErrNotHeld is returned when an operation names a message that is not held.
var ErrNotHeld = errors.New("outbox: message is not held")

// Log is what a relay needs of a store. Stores implement it; it may be used from
// many goroutines.
//
// A cursor is a name and a position. All messages at or before the position
// have been delivered to that cursor's publisher, or discarded, or are held;
// messages after it have not been looked at, or were published by a relay that
// did not live to say so.
type Log interface {
	// Acquire takes the cursor over, creating it at position 0 when it is new,
	// and raises its epoch: from then on Settle refuses every earlier lease.
	Acquire(ctx context.Context, cursor string) (Lease, error)

	// Scan returns messages after a position, in commit order, at most limit of
	// them, and only those of the topics when any are given. next is the position
	// up to which the log was looked at: after itself when there is nothing new.
	Scan(ctx context.Context, after int64, limit int, topics []string) (messages []Message, next int64, err error)

	// Held returns the cursor's held messages, in position order.
	Held(ctx context.Context, cursor string, filter HeldFilter) ([]Held, error)

	// Settle records, in one transaction, what became of a batch. It returns
	// ErrLeaseLost, having changed nothing, unless the lease is the cursor's
	// newest. It can be repeated.
	Settle(ctx context.Context, lease Lease, s Settlement) error

	// Redrive makes parked messages due again, with their attempts forgotten,
	// and Discard gives held messages up for good. Both return how many they
	// changed, apply to messages that are held by the cursor, and work beside a
	// running relay, which sees the change at its next look.
	Redrive(ctx context.Context, cursor string, positions []int64) (int, error)
	Discard(ctx context.Context, cursor string, positions []int64) (int, error)

	// Trim deletes at most limit messages that were created before the time, and
	// that every cursor has passed and none holds: none at all as long as there is
	// no cursor. It returns how many it deleted.
	Trim(ctx context.Context, before time.Time, limit int) (int, error)

	// Stats describes every cursor, and the log's end.
	Stats(ctx context.Context) (Stats, error)

	// Drop forgets a cursor and what it holds. Its leases stay stale when it is
	// acquired anew.
	Drop(ctx context.Context, cursor string) error

	// Subscribe calls fn after every commit of this process that appended
	// messages, until cancel is called. fn must not block.
	Subscribe(fn func()) (cancel func())
}

// Lease is the right to move a cursor. A newer lease has a greater epoch.
type Lease struct {
	Cursor string
	Epoch  int64
	// Position is where the cursor was when the lease was acquired.
	Position int64
}

// Settlement is what became of a batch of messages.
type Settlement struct {
	// Position is the cursor's new position; 0 leaves it where it is.
	Position int64
	// Hold are messages to hold from now on, or held messages whose state
	// changes. They are told apart by the position that the cursor had before: a
	// message at or before it that is not held was discarded in the meantime, and
	// its Hold is ignored, so that it stays discarded.
	Hold []Hold
	// Release are positions of held messages that were delivered. Those that are
	// not held any more are ignored.
	Release []int64
}

// HoldState says why a message is held.
type HoldState string

// The states of a held message. A key is held as long as it has a held message;
// its first one is retrying or parked, and the others are waiting behind it. When
// the first one is gone (delivered or discarded), the next, still called waiting,
// is due at once.
const (
	Retrying HoldState = "retrying" // will be published again at Hold.NextAt
	Parked   HoldState = "parked"   // needs Redrive or Discard
	Waiting  HoldState = "waiting"  // behind an earlier message of its key
)

// Hold is the state of a held message.
type Hold struct {
	Position int64
	Key      string
	State    HoldState
	// Attempts counts the publishings that failed.
	Attempts int
	// NextAt is when a Retrying message is due.
	NextAt time.Time
	// Reason is what the last attempt answered.
	Reason string
	// Since is when the message was first held.
	Since time.Time
}

// Held is a held message with its state.
type Held struct {
	Hold
	Message Message
}

// HeldFilter selects held messages; its zero value selects all.
type HeldFilter struct {
	// State selects one state, when not empty.
	State HoldState
	// Key selects one ordering key, when not nil.
	Key *string
	// DueAt selects Retrying messages due at or before the time, when not zero.
	DueAt time.Time
	// Heads allows the store to leave out messages that are behind another held
	// message of their key, which can be very many. A store that can't do so
	// cheaply returns them all.
	Heads bool
	// Limit is the greatest number of messages; 0 means no limit.
	Limit int
}

// Stats describes the log.
type Stats struct {
	// End is the position of the newest message; 0 when there never was one.
	End int64
	// Messages is how many the log has, delivered ones that await Trim included.
	Messages int64
	Cursors  []CursorStats
}

// CursorStats describes one cursor.
type CursorStats struct {
	Cursor   string
	Position int64
	Epoch    int64
	// Retrying, Waiting and Parked count held messages.
	Retrying, Waiting, Parked int64
	// OldestAt is when the oldest message was created that is held, or that is
	// after the position; zero when there is none. Topics are not known here, so
	// that messages which the cursor's relay will skip count until it has looked.
	OldestAt time.Time
}

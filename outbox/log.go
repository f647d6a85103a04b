package outbox

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"
)

// ErrNotHeld is returned when an operation names a message that is not held.
var ErrNotHeld = errors.New("outbox: message is not held")

// Log is what a relay needs of a store. Stores implement it; it may be used from
// many goroutines.
//
// A cursor is a name and a position for each of its partitions, of which it has one
// unless it is first acquired with more. All messages of a partition at or before its
// position have been delivered to the cursor's publisher, or discarded, or are held;
// messages after it have not been looked at, or were published by a relay that
// did not live to say so. What is held belongs to the cursor as a whole.
type Log interface {
	// Acquire takes a partition of a cursor and raises its epoch: from then on Settle
	// refuses every earlier lease. It creates the cursor when it is new. It returns
	// ErrLeaseHeld while another owner's lease has not expired by the database's
	// clock, unless the claim has Force; ErrPartitions; ErrRestored; and ErrNotDurable.
	Acquire(ctx context.Context, claim Claim) (Lease, error)

	// Release ends a lease at once, so that nobody waits for it to expire. It does
	// nothing when the lease is not the newest.
	Release(ctx context.Context, lease Lease) error

	// Join says that a member of a cursor, which is as a rule a running relay, is
	// there for so long from now, by the database's clock, and returns all who are,
	// sorted. A ttl of 0 says that it is gone. Membership gives no right to anything:
	// it tells relays among which of them the partitions are to be shared.
	Join(ctx context.Context, cursor, member string, ttl time.Duration) (members []string, err error)

	// Resplit gives the cursor another number of partitions, each at the position
	// that all of the old ones have, which must be the same. The leases must be the
	// newest of all old partitions (ErrLeaseLost), and end. Repartition is made of it.
	Resplit(ctx context.Context, leases []Lease, partitions int) error

	// Scan returns messages after a position, in commit order, at most Limit of
	// them, of those that the query wants. What it returns is on the disk: a power loss
	// does not take it back, however relaxed the settings are with which it was
	// committed. next is the position up to which the log
	// was looked at: that of the query when there is nothing new.
	Scan(ctx context.Context, query Query) (messages []Message, next int64, err error)

	// Held returns the cursor's held messages, in position order.
	Held(ctx context.Context, cursor string, filter HeldFilter) ([]Held, error)

	// Settle records, in one transaction, what became of a batch, and extends the
	// lease; an empty settlement only extends it. It returns ErrLeaseLost, having
	// changed nothing, unless the lease is the partition's newest, and ErrRestored. A
	// lease that has expired counts as long as nobody else has acquired the partition.
	// Settle can be repeated.
	Settle(ctx context.Context, lease Lease, s Settlement) error

	// Redrive makes parked messages due again, with their attempts forgotten,
	// and Discard gives held messages up for good. Both return how many they
	// changed, apply to messages that are held by the cursor, and work beside a
	// running relay, which sees the change at its next look.
	Redrive(ctx context.Context, cursor string, positions []int64) (int, error)
	Discard(ctx context.Context, cursor string, positions []int64) (int, error)

	// Park makes messages wait for an operator, with this reason, as if they had used up
	// their attempts, and returns how many it parked. Of what is held that is of each key
	// the first, unless it is parked; one that a relay is trying just then is settled by
	// what becomes of it. A key of which nothing is held is stopped by the last of those
	// of its messages that are named and that Replay could hold: what follows that one
	// waits behind it, from the relay's next look on.
	Park(ctx context.Context, cursor string, positions []int64, reason string) (int, error)

	// Replay holds messages again that the cursor has delivered, or discarded, and
	// returns how many: its relay publishes them at its next look, with the ids that
	// they had, and the cursor's position stays. Those that some partition of the
	// cursor has not passed, that are held, or that were trimmed, are left alone.
	Replay(ctx context.Context, cursor string, positions []int64) (int, error)

	// Trim deletes messages that were created before the time, and that every cursor
	// has passed and none holds: none at all as long as there is no cursor. It deletes
	// at most limit of them, and returns how many. A store may keep many thousands until
	// it can drop all of them at once, whatever the limit is; it judges their age by the
	// last ones, and counts them by their positions.
	Trim(ctx context.Context, before time.Time, limit int) (int, error)

	// Promote moves at most limit delayed messages that are due, by the database's
	// clock, to the log, in one transaction and in the order of their times, and tells
	// what is left. It may be called by several relays at once, and costs next to
	// nothing when there are no delayed messages.
	Promote(ctx context.Context, limit int) (Promotion, error)

	// Undelay forgets the delayed messages with one of these ids, and returns how many
	// there were. Those that have come to the log are not delayed any more.
	Undelay(ctx context.Context, ids []string) (int, error)

	// Stats describes every cursor, and the log's end.
	Stats(ctx context.Context) (Stats, error)

	// Drop forgets a cursor with its partitions, what it holds and its members. Its
	// leases stay stale when it is acquired anew.
	Drop(ctx context.Context, cursor string) error

	// Subscribe calls fn after every commit of this process that appended
	// messages, until cancel is called. fn must not block. recent says that a Scan whose
	// query has Recent sees all that this call is about; otherwise only a Scan without it does,
	// as where another process has appended.
	Subscribe(fn func(recent bool)) (cancel func())
}

// Query says what Scan returns.
type Query struct {
	// After is the position after which messages are wanted.
	After int64
	// Limit is the greatest number of messages. There are none without.
	Limit int
	// Topics selects the messages with one of these topics. None selects all.
	Topics []string
	// Share selects partitions.
	Share Share
	// Recent asks only for what this process has appended, as far as nothing of others lies
	// between. The store may answer it from memory, and may read the log as always.
	Recent bool
}

// wants reports whether the query selects a message.
func (q *Query) wants(m *Message) bool {
	return (len(q.Topics) == 0 || slices.Contains(q.Topics, m.Topic)) && q.Share.Has(m.Key, m.ID)
}

// All reports whether the query wants every message after its position.
func (q Query) All() bool { return len(q.Topics) == 0 && q.Share.Whole() }

// Settlement is what became of a batch of messages.
type Settlement struct {
	// Position is the partition's new position; 0 leaves it where it is.
	Position int64
	// From is where the owner has left the partition, by its last settlement or when
	// it was acquired (Beginning for 0): when it is neither there nor at Position, this
	// comes late, when what came after it is settled, or a restore has moved the
	// partition, and the answer is ErrRestored. 0 asks for no such check.
	From int64
	// Hold are messages to hold from now on, or held messages whose state
	// changes. They are told apart by the position that the partition had before: a
	// message at or before it that is not held was discarded in the meantime, and
	// its Hold is ignored, so that it stays discarded.
	Hold []Hold
	// Release are positions of held messages that were delivered. Those that are
	// not held any more are ignored.
	Release []int64
}

// Beginning is what Settlement.From calls a partition's position 0.
const Beginning = -1

// Left returns where From wants a partition to be: where its owner has left it, or where
// a settlement that is repeated has moved it. It may be anywhere unless asked. Stores
// call it.
func (s Settlement) Left() (at, moved int64, asked bool) {
	at = max(s.From, 0)
	moved = s.Position
	if moved == 0 {
		moved = at
	}
	return at, moved, s.From != 0
}

// Promotion is what Promote has done.
type Promotion struct {
	// Promoted is how many messages came to the log.
	Promoted int
	// Left is whether there are more delayed messages, the next of which is due In.
	Left bool
	In   time.Duration
}

// Wait says that there are more, the next of which is due in so many microseconds.
// Stores call it.
func (p *Promotion) Wait(microseconds int64) {
	p.Left = true
	p.In = time.Duration(min(max(microseconds, 0), math.MaxInt64/int64(time.Microsecond))) * time.Microsecond
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

// ReplayState returns the state in which Replay holds a message: due at once, and of a
// key one after the other. Stores call it.
func ReplayState(key string) HoldState {
	if key == "" {
		return Retrying
	}
	return Waiting
}

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
	// Share selects partitions.
	Share Share
	// After selects messages after a position: with Limit, to read page by page.
	After int64
	// Limit is the greatest number of messages; 0 means no limit.
	Limit int
}

// Stats describes the log.
type Stats struct {
	// End is the position of the newest message; 0 when there never was one.
	End int64
	// Messages is how many the log has, delivered ones that await Trim included.
	Messages int64
	// Delayed is how many messages wait for their time, outside the log.
	Delayed int64
	// Log is the log's identity.
	Log     string
	Cursors []CursorStats
}

// CursorStats describes one cursor.
type CursorStats struct {
	Cursor string
	// Partitions is how many the cursor has.
	Partitions int
	// Position is that of the partition which is furthest behind, and Epoch the
	// greatest of all.
	Position int64
	Epoch    int64
	// Retrying, Waiting and Parked count held messages.
	Retrying, Waiting, Parked int64
	// OldestAt is when the oldest message was created that is held, or that is
	// after the position; zero when there is none. Topics are not known here, and
	// neither are partitions that are further ahead, so that messages which the
	// cursor's relay has behind it or will skip count until it has looked.
	OldestAt time.Time
	// Parts are the partitions, in order.
	Parts []PartStats
	// Members are who has joined the cursor (Log.Join), sorted.
	Members []string
}

// PartStats describes a partition of a cursor.
type PartStats struct {
	Partition       int
	Position, Epoch int64
	// Owner is who has acquired the partition last; "" when nobody ever has. Its lease
	// keeps others off until ExpiresAt, by the database's clock; zero when it was
	// released.
	Owner     string
	ExpiresAt time.Time
}

// Blocker is a transaction that is open and has appended messages: as long as it is,
// what was committed behind them is not delivered.
type Blocker struct {
	// Session is what the database calls it, as the process id of PostgreSQL's backend,
	// and Application and Client what it knows of the program. State is what the
	// session does, in the database's words.
	Session, Application, Client, State string
	// Since is when the transaction began, and QueryAt when its newest statement did.
	Since, QueryAt time.Time
}

// Blockers is a Log that can tell which transactions hold up the reading of it. Those
// that can't have no open transactions before what is committed, or don't know.
type Blockers interface {
	// Blockers returns them, the oldest first.
	Blockers(ctx context.Context) ([]Blocker, error)
}

// MergeCursorStats makes one of the statistics of a cursor's partitions, which are
// called as PartitionRow says, and adds the members of cursors. A row has one of Parts,
// for Owner and ExpiresAt, or none. Stores call it.
func MergeCursorStats(rows []CursorStats, members map[string][]string) []CursorStats {
	var merged []CursorStats
	at := map[string]int{}
	for _, row := range rows {
		part := PartStats{Position: row.Position, Epoch: row.Epoch}
		if len(row.Parts) > 0 {
			part.Owner, part.ExpiresAt = row.Parts[0].Owner, row.Parts[0].ExpiresAt
		}
		row.Cursor, part.Partition, row.Partitions = ParseRow(row.Cursor)
		row.Parts, row.Members = []PartStats{part}, members[row.Cursor]
		i, known := at[row.Cursor]
		if !known {
			at[row.Cursor] = len(merged)
			merged = append(merged, row)
			continue
		}
		m := &merged[i]
		m.Parts = append(m.Parts, part)
		m.Position, m.Epoch = min(m.Position, row.Position), max(m.Epoch, row.Epoch)
		m.Retrying, m.Waiting, m.Parked = max(m.Retrying, row.Retrying), max(m.Waiting, row.Waiting), max(m.Parked, row.Parked)
		if m.OldestAt.IsZero() || !row.OldestAt.IsZero() && row.OldestAt.Before(m.OldestAt) {
			m.OldestAt = row.OldestAt
		}
	}
	for _, m := range merged {
		slices.SortFunc(m.Parts, func(a, b PartStats) int { return a.Partition - b.Partition })
	}
	return merged
}

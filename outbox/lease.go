package outbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// ErrLeaseLost is returned by Log.Settle when another relay has taken the partition
// since. The relay must stop at once; what it has published in
// the meantime will be published again by the other, with the same ids.
var ErrLeaseLost = errors.New("outbox: lease lost")

// ErrLeaseHeld is returned by Log.Acquire while another owner's lease stands.
var ErrLeaseHeld = errors.New("outbox: lease held by another")

// ErrPartitions is returned by Log.Acquire when the cursor has another number of
// partitions. Repartition changes it.
var ErrPartitions = errors.New("outbox: the cursor has another number of partitions")

// ErrRestored is what errors.Is finds when a lease and the log do not belong
// together: the cursor is not where its only owner has left it, it is behind the end
// of the log, or the log is another one. The database was restored from a backup, or
// replaced. Nothing was changed.
//
// A relay that is started anew begins where the cursor is, which is right as long as
// cursor and log were restored together; what was published since the backup is
// published again, and what was committed since is lost. A cursor that is behind the
// end must be dropped (Log.Drop), and then begins at the log's first message.
var ErrRestored = errors.New("outbox: the log is not the one that the lease is of: was it restored?")

// ErrNotDurable is returned by Log.Acquire when the database runs with settings by
// which a power loss may take back what it has committed, and the store can do nothing
// about it. Options of the stores say how to publish all the same.
var ErrNotDurable = errors.New("outbox: the database may lose what it has committed")

// Claim says which partition of a cursor is wanted, by whom and for how long.
type Claim struct {
	// Cursor is the cursor's name. Required.
	Cursor string
	// Partition is from 0 to Partitions-1, and Partitions how many the cursor has,
	// MaxPartitions at most; 0 means 1. A cursor that is new gets all of its
	// partitions at once, at position 0.
	Partition, Partitions int
	// Owner is who wants it, unlike all others: as a rule a random text.
	Owner string
	// TTL is for how long the lease keeps others off after it was last acquired or
	// settled, by the database's clock. 0 keeps nobody off.
	TTL time.Duration
	// Force takes the partition over at once, whoever has it.
	Force bool
}

// Lease is the right to move the position of a cursor's partition. A newer lease has
// a greater epoch.
type Lease struct {
	Cursor                string
	Partition, Partitions int
	Owner                 string
	TTL                   time.Duration
	Epoch                 int64
	// Position is where the partition was when the lease was acquired.
	Position int64
	// Log is the identity of the log, which it got when it was made.
	Log string
	// Now is the database's clock when the lease was acquired. By it relays, whose own
	// clocks may differ, say when a held message is due.
	Now time.Time
}

// Of returns the share of messages that the lease is for.
func (l Lease) Of() Share {
	if l.Partitions <= 1 {
		return Share{}
	}
	return Share{Of: l.Partitions, Partitions: []int{l.Partition}}
}

// Row returns the name under which stores keep the partition's position.
func (l Lease) Row() string { return PartitionRow(l.Cursor, l.Partition, l.Partitions) }

// Check returns an error unless the claim makes sense. Stores call it.
func (c Claim) Check() error {
	switch {
	case c.Cursor == "":
		return errors.New("outbox: a cursor needs a name")
	case IsPartitionRow(c.Cursor):
		return fmt.Errorf("outbox: %q is no name for a cursor: partitions are called so", c.Cursor)
	case c.Partitions < 0 || c.Partitions > MaxPartitions:
		return fmt.Errorf("outbox: %d partitions: want 1 to %d", c.Partitions, MaxPartitions)
	case c.Partition < 0 || c.Partition >= max(c.Partitions, 1):
		return fmt.Errorf("outbox: there is no partition %d of %d", c.Partition, max(c.Partitions, 1))
	case c.TTL < 0:
		return fmt.Errorf("outbox: a lease of %v", c.TTL)
	}
	return nil
}

// Lease returns the lease that the claim asks for, without what the store knows.
func (c Claim) Lease() Lease {
	return Lease{Cursor: c.Cursor, Partition: c.Partition, Partitions: max(c.Partitions, 1), Owner: c.Owner, TTL: c.TTL}
}

// CheckResplit returns an error unless the leases are those of all partitions of one
// cursor, in order. Stores call it.
func CheckResplit(leases []Lease, partitions int) error {
	if partitions < 1 || partitions > MaxPartitions || len(leases) == 0 {
		return fmt.Errorf("outbox: %d partitions of %d: want 1 to %d of some", partitions, len(leases), MaxPartitions)
	}
	for i, lease := range leases {
		if lease.Cursor != leases[0].Cursor || lease.Partition != i || lease.Partitions != len(leases) {
			return fmt.Errorf("outbox: lease %d of %d is of the partition %s", i, len(leases), lease.Row())
		}
	}
	return nil
}

// NewLogID returns a new identity for a log. Stores call it.
func NewLogID() string { return rand.Text() }

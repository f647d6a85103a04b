package admin

import (
	"context"
	"time"

	"github.com/uow-go/uow/outbox"
)

// Stats is the state of an outbox.
type Stats struct {
	At time.Time `json:"at"`
	// Log is the log's identity, End the position of its newest message, and Messages
	// how many it has, delivered ones that await Trim included.
	Log      string   `json:"log"`
	End      int64    `json:"end"`
	Messages int64    `json:"messages"`
	Cursors  []Cursor `json:"cursors"`
	// Blockers are open transactions that hold up what was committed after them, where
	// the store can tell (PostgreSQL), the oldest first.
	Blockers []Blocker `json:"blockers,omitempty"`
}

// Cursor is the state of a cursor.
type Cursor struct {
	Name string `json:"name"`
	// Position is that of the partition that is furthest behind, and Behind how many
	// positions it is from the log's end: about as many messages, rather fewer.
	Position int64 `json:"position"`
	Behind   int64 `json:"behind"`
	Epoch    int64 `json:"epoch"`
	// Retrying, Waiting and Parked count held messages.
	Retrying int64 `json:"retrying"`
	Waiting  int64 `json:"waiting"`
	Parked   int64 `json:"parked"`
	// OldestAt is when the oldest message was created that is not delivered, and Age
	// for how long that is, in seconds; zero when there is none.
	OldestAt time.Time `json:"oldestAt,omitzero"`
	Age      float64   `json:"age"`
	// Partitions are all of them, in order; Members the relays that share the cursor.
	Partitions []Partition `json:"partitions"`
	Members    []string    `json:"members,omitempty"`
}

// Partition is the state of a partition of a cursor.
type Partition struct {
	Partition int   `json:"partition"`
	Position  int64 `json:"position"`
	Behind    int64 `json:"behind"`
	Epoch     int64 `json:"epoch"`
	// Owner is the relay that has acquired the partition last; its lease is until
	// LeaseUntil, by the database's clock, and zero when it was released.
	Owner      string    `json:"owner,omitempty"`
	LeaseUntil time.Time `json:"leaseUntil,omitzero"`
}

// Blocker is outbox.Blocker.
type Blocker struct {
	Session     string    `json:"session"`
	Application string    `json:"application,omitempty"`
	Client      string    `json:"client,omitempty"`
	State       string    `json:"state,omitempty"`
	Since       time.Time `json:"since,omitzero"`
	QueryAt     time.Time `json:"queryAt,omitzero"`
}

// Stats returns the state of the outbox now.
func (o *Ops) Stats(ctx context.Context) (Stats, error) {
	found, err := o.cfg.Log.Stats(ctx)
	if err != nil {
		return Stats{}, err
	}
	stats := Stats{At: time.Now().UTC(), Log: found.Log, End: found.End, Messages: found.Messages, Cursors: []Cursor{}}
	for _, c := range found.Cursors {
		cursor := Cursor{
			Name: c.Cursor, Position: c.Position, Behind: max(found.End-c.Position, 0), Epoch: c.Epoch,
			Retrying: c.Retrying, Waiting: c.Waiting, Parked: c.Parked, OldestAt: c.OldestAt, Members: c.Members,
		}
		if !c.OldestAt.IsZero() {
			cursor.Age = max(stats.At.Sub(c.OldestAt), 0).Seconds()
		}
		for _, p := range c.Parts {
			part := Partition{Partition: p.Partition, Position: p.Position, Behind: max(found.End-p.Position, 0), Epoch: p.Epoch, Owner: p.Owner}
			if !p.ExpiresAt.IsZero() {
				part.LeaseUntil = p.ExpiresAt.UTC()
			}
			cursor.Partitions = append(cursor.Partitions, part)
		}
		stats.Cursors = append(stats.Cursors, cursor)
	}
	if log, ok := o.cfg.Log.(outbox.Blockers); ok {
		blockers, err := log.Blockers(ctx)
		if err != nil {
			return Stats{}, err
		}
		for _, b := range blockers {
			stats.Blockers = append(stats.Blockers, Blocker(b))
		}
	}
	return stats, nil
}

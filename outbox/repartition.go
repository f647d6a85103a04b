package outbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/internal/pause"
)

// Repartition gives a cursor another number of partitions, without repeating, losing or
// reordering a message. Relays of the cursor may be running: they lose their leases,
// and end with ErrPartitions once it is done, to be started with the new number.
type Repartition struct {
	// Cursor is the cursor's name. Required.
	Cursor string
	// Partitions is the new number, MaxPartitions at most. Required.
	Partitions int
	// Topics are those of the cursor's relays.
	Topics []string
}

const (
	// repartitionBatch is how many messages are held at once.
	repartitionBatch = 500
	// repartitionTTL is for how long relays are kept off by one that has died.
	repartitionTTL = time.Minute
	// gapPause is how long is waited for a transaction that is still open.
	gapPause = 20 * time.Millisecond
)

// Run takes all partitions from their owners, brings them to one position, and makes
// the new ones there. Partitions differ in how far they are: what lies between one and
// the furthest is held, as if its relay had met it behind messages that were not
// delivered, and is the first to be published afterwards. How long it takes is a matter
// of how many messages these are.
//
// When it fails, the cursor has the partitions that it had, and it may be run again. A
// cursor that does not exist is made.
func (r Repartition) Run(ctx context.Context, log Log) (err error) {
	claim := Claim{Cursor: r.Cursor, Partitions: r.Partitions, Owner: rand.Text(), TTL: repartitionTTL, Force: true}
	if err := claim.Check(); err != nil || r.Partitions == 0 {
		return fmt.Errorf("outbox: repartition: %w: %d partitions of %q: %w", uow.ErrConfig, r.Partitions, r.Cursor, err)
	}
	stats, err := log.Stats(ctx)
	if err != nil {
		return err
	}
	claim.Partitions = r.Partitions
	for _, c := range stats.Cursors {
		if c.Cursor == r.Cursor {
			claim.Partitions = c.Partitions
		}
	}
	run := repartitioning{Repartition: r, log: log}
	defer func() {
		for _, lease := range run.leases { // in vain where it was done
			if end := log.Release(context.WithoutCancel(ctx), lease); err == nil {
				err = end
			}
		}
	}()
	for ; claim.Partition < claim.Partitions; claim.Partition++ {
		lease, err := log.Acquire(ctx, claim)
		if err != nil {
			return err
		}
		run.leases = append(run.leases, lease)
		run.furthest = max(run.furthest, lease.Position)
	}
	run.renewed = time.Now()
	for i := range run.leases {
		if err := run.catchUp(ctx, run.leases[i]); err != nil {
			return err
		}
	}
	return log.Resplit(ctx, run.leases, r.Partitions)
}

// repartitioning is one Run.
type repartitioning struct {
	Repartition
	log      Log
	leases   []Lease
	furthest int64
	renewed  time.Time
}

// catchUp brings a partition to where the furthest is, by holding what lies between.
func (r *repartitioning) catchUp(ctx context.Context, lease Lease) error {
	for at := lease.Position; at < r.furthest; {
		messages, next, err := r.log.Scan(ctx, Query{After: at, Limit: repartitionBatch, Topics: r.Topics, Share: lease.Of()})
		if err != nil {
			return err
		}
		if next == at { // somebody may still write in between, but for what has been read
			if err := pause.For(ctx, gapPause); err != nil {
				return err
			}
			continue
		}
		settlement := Settlement{From: cmp.Or(at, Beginning), Position: min(next, r.furthest)}
		now := time.Now()
		for _, m := range messages {
			if m.Position > r.furthest {
				break
			}
			hold := Hold{Position: m.Position, Key: m.Key, State: Waiting, Since: now}
			if m.Key == "" {
				hold.State, hold.NextAt = Retrying, now.Truncate(time.Microsecond)
			}
			settlement.Hold = append(settlement.Hold, hold)
		}
		if err := r.log.Settle(ctx, lease, settlement); err != nil {
			return err
		}
		at = settlement.Position
		if err := r.renew(ctx); err != nil {
			return err
		}
	}
	return nil
}

// renew extends the leases of all partitions when it is time.
func (r *repartitioning) renew(ctx context.Context) error {
	if time.Since(r.renewed) < repartitionTTL/4 {
		return nil
	}
	r.renewed = time.Now()
	for _, lease := range r.leases {
		if err := r.log.Settle(ctx, lease, Settlement{}); err != nil {
			return err
		}
	}
	return nil
}

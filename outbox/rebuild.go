package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/uow-go/uow"
)

// ErrTrimmed is returned by Rebuild.Run when the log does not have an aggregate's
// first events any more, or misses one in between.
var ErrTrimmed = errors.New("outbox: the log is not complete")

// Rebuild makes a read model anew from the log, by the same projection that keeps it up
// to date inside the units. It is for a projection that was wrong, or is new.
type Rebuild struct {
	// Reset removes the read model, in the unit given. Default: nothing is removed,
	// for a read model that is new.
	Reset func(ctx context.Context, u *uow.Unit) error
	// Projection writes the read model. Required.
	Projection uow.Projection
	// Decode returns the event of a message, as the aggregate recorded it; nil leaves
	// the message out. Decoder has the usual one. Required.
	Decode func(m Message) (any, error)
	// Topics are the collections whose events count. Default: all.
	Topics []string
}

// rebuildBatch is how many messages are read at once.
const rebuildBatch = 1000

// Run rebuilds in one unit, and returns how many events it has applied. Readers see
// the old read model until the commit, and the new one from then on; a failure leaves
// the old one. Units that go on meanwhile keep the read model up to date too: where one
// of them and the rebuild write the same row, one of both fails with ErrConflict, and
// should be run again (uow.UnitOptions.Retry with Conflicts, for the rebuild). All rows
// that the rebuild writes are in memory until the commit.
//
// The log must have everything since the aggregates' first events: ErrTrimmed.
func (r Rebuild) Run(ctx context.Context, db *uow.DB) (applied int, err error) {
	if r.Projection == nil || r.Decode == nil {
		return 0, fmt.Errorf("outbox: rebuild: %w: Projection and Decode are required", uow.ErrConfig)
	}
	log, err := Of(db)
	if err != nil {
		return 0, err
	}
	err = db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		applied = 0
		if r.Reset != nil { // reads first, so that the snapshot is older than what is scanned
			if err := r.Reset(ctx, u); err != nil {
				return fmt.Errorf("outbox: rebuild: reset: %w", err)
			}
		}
		streams := map[[2]string]int64{}
		for after := int64(0); ; {
			messages, next, err := log.Scan(ctx, Query{After: after, Limit: rebuildBatch, Topics: r.Topics})
			if err != nil {
				return err
			}
			for _, m := range messages {
				done, err := r.apply(ctx, u, m, streams)
				if err != nil {
					return err
				}
				applied += done
			}
			if next == after {
				return nil
			}
			after = next
		}
	})
	return applied, err
}

// apply projects one message, unless it is of no aggregate or does not count.
func (r Rebuild) apply(ctx context.Context, u *uow.Unit, m Message, streams map[[2]string]int64) (int, error) {
	if m.AggregateType == "" {
		return 0, nil
	}
	stream := [2]string{m.AggregateType, m.AggregateID}
	if m.Sequence != streams[stream]+1 {
		return 0, fmt.Errorf("%w: %s/%s: event %d follows %d", ErrTrimmed, m.AggregateType, m.AggregateID, m.Sequence, streams[stream])
	}
	streams[stream] = m.Sequence
	value, err := r.Decode(m)
	if err != nil {
		return 0, fmt.Errorf("outbox: rebuild: event %s of %s/%s: %w", m.Type, m.AggregateType, m.AggregateID, err)
	}
	if value == nil {
		return 0, nil
	}
	err = r.Projection(ctx, u, uow.Event{
		AggregateType: m.AggregateType, AggregateID: m.AggregateID, Type: m.Type, At: m.CreatedAt, Value: value,
	})
	if err != nil {
		return 0, fmt.Errorf("outbox: rebuild: event %s of %s/%s: %w", m.Type, m.AggregateType, m.AggregateID, err)
	}
	return 1, nil
}

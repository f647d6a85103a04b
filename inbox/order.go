package inbox

import (
	"context"
	"fmt"

	"github.com/uow-go/uow"
)

// Order is what an inbox does with messages that are not the next of their stream.
// But for IgnoreOrder it keeps a record of each stream, deliveries of one stream take
// turns, and gaps and late messages are found by sequence, whatever the broker does.
type Order int

const (
	// IgnoreOrder does not look at streams.
	IgnoreOrder Order = iota
	// ReportDisorder handles all messages, and says in the Receipt what is missing
	// before them, and which are late.
	ReportDisorder
	// RefuseDisorder refuses, with an *OrderError, each message that is not the next
	// of its stream. A consumer leaves one that is ErrGap to the broker, which brings
	// it again. One that is ErrLate comes after its time: it is one of before the
	// stream's beginning, or one that was skipped, or a duplicate without a mark.
	RefuseDisorder
)

// Gap is what is missing of a stream: the messages From … To. None is missing when
// From is 0.
type Gap struct{ From, To int64 }

// step takes the message's place in its stream, as the policy has it.
func (in *Inbox) step(u *uow.Unit, known *record, m Message) (gap Gap, late bool, err error) {
	if known == nil {
		known = &record{ID: in.streamKey(m), Stream: &place{Source: m.Source, Stream: m.Stream}}
		if !in.cfg.FromFirst {
			known.Stream.Last = m.Sequence - 1
		}
		if err := in.records.all.In(u).Add(known); err != nil {
			return gap, false, err
		}
	}
	last := known.Stream.Last
	late = m.Sequence <= last
	if m.Sequence > last+1 {
		gap = Gap{From: last + 1, To: m.Sequence - 1}
	}
	if in.cfg.Order == RefuseDisorder && m.Sequence != last+1 {
		return gap, late, &OrderError{Source: m.Source, Stream: m.Stream, Sequence: m.Sequence, Last: last}
	}
	known.Stream.Last = max(last, m.Sequence)
	return gap, late, nil
}

// Skip gives up what is missing of a stream up to the sequence, so that the message
// behind it is the next: for a consumer that refuses disorder, when a message will
// never come. A stream that is further already stays where it is.
func (in *Inbox) Skip(ctx context.Context, source, stream string, sequence int64) error {
	m := Message{Source: source, Stream: stream, Sequence: sequence}
	if !m.ordered() {
		return fmt.Errorf("%w: skip needs a stream, and a sequence from 1 on", ErrInvalid)
	}
	release, err := in.turns.take(ctx, in.streamKey(m))
	if err != nil {
		return err
	}
	defer release()
	return again(ctx, func() (bool, error) {
		err := in.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			known, err := in.records.all.In(u).GetMany(ctx, in.streamKey(m))
			if err != nil {
				return err
			}
			if len(known) == 0 {
				return in.records.all.In(u).Add(&record{ID: in.streamKey(m), Stream: &place{source, stream, sequence}})
			}
			known[0].Stream.Last = max(known[0].Stream.Last, sequence)
			return nil
		})
		return raced(err), err
	})
}

func (in *Inbox) streamKey(m Message) string {
	return key(in.cfg.Consumer, streamKind, m.Source, m.Stream)
}

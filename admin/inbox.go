package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
)

// Mark is inbox.Mark: a message that a consumer has handled.
type Mark struct {
	Consumer  string    `json:"consumer"`
	Source    string    `json:"source,omitempty"`
	ID        string    `json:"id"`
	Stream    string    `json:"stream,omitempty"`
	Sequence  int64     `json:"sequence,omitempty"`
	Time      time.Time `json:"time,omitzero"`
	HandledAt time.Time `json:"handledAt"`
	Unit      string    `json:"unit"`
}

// Marks is a page of marks.
type Marks struct {
	Marks []Mark `json:"marks"`
	// Count is how many the consumer has, and Streams in how many streams it has a
	// place; -1 where none is named.
	Count   int `json:"count"`
	Streams int `json:"streams"`
	// Next is for inbox.Filter.After; "" when there is nothing more.
	Next string `json:"next,omitempty"`
}

// Streams is a page of streams.
type Streams struct {
	Streams []Stream `json:"streams"`
	Next    string   `json:"next,omitempty"`
}

// Stream is inbox.Stream: how far a consumer has come in a stream.
type Stream struct {
	Consumer string `json:"consumer"`
	Source   string `json:"source,omitempty"`
	Stream   string `json:"stream"`
	Last     int64  `json:"last"`
}

// Marks lists messages that consumers have handled, as inbox.Records.List does.
func (o *Ops) Marks(ctx context.Context, f inbox.Filter) (Marks, error) {
	if o.cfg.Records == nil {
		return Marks{}, ErrNoInbox
	}
	page := Marks{Marks: []Mark{}, Count: -1, Streams: -1}
	found, next, err := o.cfg.Records.List(ctx, o.cfg.DB, f)
	if err != nil {
		return Marks{}, invalid(err)
	}
	page.Next = next
	for _, m := range found {
		page.Marks = append(page.Marks, Mark{
			Consumer: m.Consumer, Source: m.Message.Source, ID: m.Message.ID, Stream: m.Message.Stream,
			Sequence: m.Message.Sequence, Time: m.Message.Time, HandledAt: m.HandledAt, Unit: m.Unit,
		})
	}
	if f.Consumer != "" {
		if page.Count, page.Streams, err = o.cfg.Records.Count(ctx, o.cfg.DB, f.Consumer); err != nil {
			return Marks{}, err
		}
	}
	return page, nil
}

// Streams lists how far a consumer has come in its streams: limit of them, 100 where it
// is 0, after a page's Next.
func (o *Ops) Streams(ctx context.Context, consumer, after string, limit int) (Streams, error) {
	if o.cfg.Records == nil {
		return Streams{}, ErrNoInbox
	}
	found, next, err := o.cfg.Records.Streams(ctx, o.cfg.DB, consumer, after, limit)
	if err != nil {
		return Streams{}, invalid(err)
	}
	page := Streams{Streams: []Stream{}, Next: next}
	for _, s := range found {
		page.Streams = append(page.Streams, Stream(s))
	}
	return page, nil
}

// invalid makes ErrInvalid of what was asked wrongly.
func invalid(err error) error {
	if errors.Is(err, uow.ErrConfig) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

package inbox

import (
	"context"
	"fmt"

	"github.com/uow-go/uow"
)

// Filter selects marks.
type Filter struct {
	// Consumer is that of the marks. Default: all.
	Consumer string
	// Source and ID select the mark of one message, of one consumer.
	Source, ID string
	// Limit is how many marks are listed at most. Default: 100.
	Limit int
	// After is where to go on: what the List before has returned. Default: "", at the
	// beginning.
	After string
}

// List returns marks, for operators: of one consumer the newest first, and those of
// several one consumer after the other. next is for Filter.After; "" when there are no
// more.
func (r *Records) List(ctx context.Context, db *uow.DB, f Filter) (marks []Mark, next string, err error) {
	q, err := f.query()
	if err != nil {
		return nil, "", err
	}
	err = db.View(ctx, func(ctx context.Context, v *uow.View) error {
		marks = nil
		page, place, err := r.all.From(v).Page(ctx, q, f.After)
		if err != nil {
			return err
		}
		for _, found := range page {
			mark, err := found.mark()
			if err != nil {
				return err
			}
			marks = append(marks, *mark)
		}
		next = place
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("inbox: list: %w", err)
	}
	return marks, next, nil
}

func (f Filter) query() (q uow.Query, err error) {
	if f.ID != "" && f.Consumer == "" || f.Source != "" && f.ID == "" || f.Limit < 0 {
		return q, fmt.Errorf("inbox: list: %w: an ID needs its Consumer, a Source its ID, and a Limit must not be negative", uow.ErrConfig)
	}
	q.Limit = f.Limit
	if q.Limit == 0 {
		q.Limit = 100
	}
	q.Order = []uow.Order{uow.Descending("kept")}
	q.Where = []uow.Condition{uow.Greater("kept", "")} // marks have it, and nothing else
	if f.Consumer != "" {
		q.Where = []uow.Condition{uow.Prefix("kept", f.Consumer+" ")}
	}
	if f.ID != "" {
		q.Where = append(q.Where, uow.Equal("id", key(f.Consumer, markKind, f.Source, f.ID)))
	}
	return q, nil
}

// Count returns how many marks a consumer has, and in how many streams it has a place.
func (r *Records) Count(ctx context.Context, db *uow.DB, consumer string) (marks, streams int, err error) {
	if consumer == "" {
		return 0, 0, fmt.Errorf("inbox: count: %w: no consumer is named", uow.ErrConfig)
	}
	err = db.View(ctx, func(ctx context.Context, v *uow.View) (err error) {
		reader := r.all.From(v)
		if marks, err = reader.Count(ctx, uow.Query{Where: []uow.Condition{uow.Prefix("kept", consumer+" ")}}); err != nil {
			return err
		}
		streams, err = reader.Count(ctx, uow.Query{Where: []uow.Condition{uow.Prefix("id", consumer+streamKind)}})
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("inbox: count: %w", err)
	}
	return marks, streams, nil
}

// Stream is how far a consumer has come in a stream.
type Stream struct {
	Consumer, Source, Stream string
	// Last is the greatest sequence that was handled, or skipped.
	Last int64
}

// Streams returns the streams of a consumer, for operators: at most limit of them, 100 if
// it is 0, in the order of their keys. after and next are as those of List.
func (r *Records) Streams(ctx context.Context, db *uow.DB, consumer, after string, limit int) (streams []Stream, next string, err error) {
	if consumer == "" || limit < 0 {
		return nil, "", fmt.Errorf("inbox: streams: %w: want a consumer, and no negative limit", uow.ErrConfig)
	}
	if limit == 0 {
		limit = 100
	}
	q := uow.Query{Where: []uow.Condition{uow.Prefix("id", consumer+streamKind)}, Order: []uow.Order{uow.Ascending("id")}, Limit: limit}
	err = db.View(ctx, func(ctx context.Context, v *uow.View) error {
		streams = nil
		page, place, err := r.all.From(v).Page(ctx, q, after)
		if err != nil {
			return err
		}
		for _, found := range page {
			if found.Stream == nil {
				return fmt.Errorf("inbox: the record %q is no stream", found.ID)
			}
			streams = append(streams, Stream{consumer, found.Stream.Source, found.Stream.Stream, found.Stream.Last})
		}
		next = place
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("inbox: streams: %w", err)
	}
	return streams, next, nil
}

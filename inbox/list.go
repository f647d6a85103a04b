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

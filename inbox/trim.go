package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/uow-go/uow"
)

// Trim deletes marks of the consumer that are older than its Horizon, at most limit of
// them, the oldest first, in one unit, and returns how many. A program calls it now
// and then, and again at once while it deletes as many as it may.
//
// With them it remembers how far they went, so that a message that comes after all is
// refused with ErrTooOld, and not handled a second time: marks must not be deleted in
// other ways. Messages that have no Time can't be refused. Places of streams are kept.
func (in *Inbox) Trim(ctx context.Context, limit int) (deleted int, err error) {
	if limit <= 0 {
		return 0, fmt.Errorf("inbox: trim: %w: the limit is %d", uow.ErrConfig, limit)
	}
	err = again(ctx, func() (bool, error) {
		err := in.db.Do(ctx, func(ctx context.Context, u *uow.Unit) (err error) {
			deleted, err = in.trim(ctx, u, limit)
			return err
		})
		return raced(err), err
	})
	if err != nil {
		return 0, err
	}
	return deleted, nil
}

func (in *Inbox) trim(ctx context.Context, u *uow.Unit, limit int) (int, error) {
	records := in.records.all.In(u)
	known, err := records.GetMany(ctx, in.cfg.Consumer)
	if err != nil {
		return 0, err
	}
	old, err := records.Find(ctx, uow.Query{
		Where: []uow.Condition{
			uow.Greater("kept", in.cfg.Consumer+" "),
			uow.Less("kept", keptFrom(in.cfg.Consumer, u.Now().Add(-in.cfg.Horizon))),
		},
		Order: []uow.Order{uow.Ascending("kept")},
		Limit: limit,
	})
	if err != nil || len(old) == 0 {
		return 0, err
	}
	if len(known) == 0 {
		known = []*record{{ID: in.cfg.Consumer, Consumer: &consumerState{}}}
		if err := records.Add(known[0]); err != nil {
			return 0, err
		}
	}
	self := known[0].Consumer
	for _, r := range old {
		mark, err := r.mark()
		if err != nil {
			return 0, err
		}
		self.Forgotten = later(self.Forgotten, mark.Message.Time)
		if err := records.Remove(r); err != nil {
			return 0, err
		}
	}
	self.Trims++
	return len(old), nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

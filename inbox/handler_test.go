package inbox_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/outbox"
)

// What no other delivery can make right is refused, and all else is left to be tried again.
func TestP24_HandlerRefusesWhatIsOfNoUse(t *testing.T) {
	var now time.Time
	w := newWorld(t, func(cfg *uow.Config) { cfg.Now = func() time.Time { return now } })
	now = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	in := w.inbox(inbox.Config{Consumer: "c", Horizon: time.Hour, Order: inbox.RefuseDisorder, FromFirst: true})
	fails := errors.New("fails")
	var fail error
	var seen []string
	handle := in.Handler(func(ctx context.Context, u *uow.Unit, m outbox.Message) error {
		seen = append(seen, m.ID)
		if fail != nil {
			return fail
		}
		return w.count(ctx, u)
	})
	created := now
	event := func(id string, sequence int64) consumer.Message {
		return consumer.Message{Source: "/bank", Message: outbox.Message{
			ID: id, AggregateType: "accounts", AggregateID: "alice", Sequence: sequence, CreatedAt: created,
		}}
	}
	try := func(what string, m consumer.Message, want error, refused bool) {
		t.Helper()
		err := handle(t.Context(), m)
		if !errors.Is(err, want) || errors.Is(err, consumer.ErrRefused) != refused {
			t.Errorf("%s: got %v, refused %v", what, err, errors.Is(err, consumer.ErrRefused))
		}
	}
	try("the first", event("1", 1), nil, false)
	try("a duplicate", event("1", 1), nil, false)
	try("one before its time", event("3", 3), inbox.ErrGap, false)
	fail = fails
	try("one that fails", event("2", 2), fails, false)
	fail = consumer.Refuse(fails)
	try("one that is refused", event("2", 2), fails, true)
	fail = nil
	try("no id", event("", 2), inbox.ErrInvalid, true)
	try("the second", event("2", 2), nil, false)
	try("another with the same number", event("2b", 2), inbox.ErrLate, true)
	now = now.Add(2 * time.Hour)
	if _, err := in.Trim(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	try("one of before the horizon", event("1", 1), inbox.ErrTooOld, true)
	if len(seen) != 4 {
		t.Errorf("the handler saw %v", seen)
	}
}

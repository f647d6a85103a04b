package uowotel_test

import (
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
)

func TestInboxIsReported(t *testing.T) {
	eachStore(t, uow.Config{}, func(b *bench) {
		observer := b.Inbox()
		handled := inbox.Delivery{Consumer: "mailer", Message: inbox.Message{Time: time.Now().Add(-time.Hour)}}
		missing := handled
		missing.Receipt.Gap = inbox.Gap{From: 3, To: 5}
		duplicate := handled
		duplicate.Receipt.Duplicate = true
		refused := handled
		refused.Err = inbox.ErrTooOld
		for _, d := range []inbox.Delivery{handled, missing, duplicate, refused, {Consumer: "timeless"}} {
			observer.Handled(b.Context(), d)
		}
		b.wantValues("uow.inbox.delivery.duration", map[string]float64{
			"uow.consumer=mailer uow.inbox.outcome=handled": 2, "uow.consumer=mailer uow.inbox.outcome=duplicate": 1,
			"uow.consumer=mailer uow.inbox.outcome=too_old": 1, "uow.consumer=timeless uow.inbox.outcome=handled": 1})
		b.wantValues("uow.inbox.lag", map[string]float64{"uow.consumer=mailer": 2})
		b.wantValues("uow.inbox.missing", map[string]float64{"uow.consumer=mailer": 3})
	})
}

package uowotel_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/outbox"
)

func TestConsumerIsReported(t *testing.T) {
	eachStore(t, uow.Config{}, func(b *bench) {
		mailer, other := b.Consumer("mailer"), b.Consumer("other")
		hourOld := consumer.Message{Message: outbox.Message{CreatedAt: time.Now().Add(-time.Hour)}}
		mailer.Handled(hourOld, 2*time.Second)
		mailer.Handled(hourOld, time.Second)
		other.Handled(consumer.Message{}, time.Second)
		for _, err := range []error{errBoom, &inbox.OrderError{Sequence: 3, Last: 1}, fmt.Errorf("late: %w", context.DeadlineExceeded), context.Canceled} {
			mailer.Failed(hourOld, err)
		}
		mailer.Refused(hourOld, consumer.Refuse(inbox.ErrTooOld), false)
		mailer.Refused(consumer.Message{}, errors.Join(consumer.ErrMalformed, errBoom), false)
		other.Refused(hourOld, consumer.Refuse(errBoom), true)
		b.wantAll("uow.consumer.attempts", map[string]float64{
			"uow.consumer=mailer uow.delivery.outcome=handled":                      2,
			"error.type=_OTHER uow.consumer=mailer uow.delivery.outcome=failed":     1,
			"error.type=gap uow.consumer=mailer uow.delivery.outcome=failed":        1,
			"error.type=timeout uow.consumer=mailer uow.delivery.outcome=failed":    1,
			"error.type=canceled uow.consumer=mailer uow.delivery.outcome=failed":   1,
			"error.type=too_old uow.consumer=mailer uow.delivery.outcome=refused":   1,
			"error.type=malformed uow.consumer=mailer uow.delivery.outcome=refused": 1,
			"uow.consumer=other uow.delivery.outcome=handled":                       1,
			"error.type=_OTHER uow.consumer=other uow.delivery.outcome=kept":        1,
		})
		b.wantAll("uow.consumer.process.duration", map[string]float64{"uow.consumer=mailer": 2, "uow.consumer=other": 1})
		b.wantAll("uow.consumer.lag", map[string]float64{"uow.consumer=mailer": 2})
		if sum := b.sum("uow.consumer.process.duration", "mailer"); sum != 3 {
			b.Errorf("handlers that took 3 s are reported with %v s", sum)
		}
		if sum := b.sum("uow.consumer.lag", "mailer"); sum < 7200 || sum > 7300 {
			b.Errorf("two messages that were an hour old are reported with %v s", sum)
		}
	})
}

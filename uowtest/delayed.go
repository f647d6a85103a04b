package uowtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

func delayedChecks() []Check {
	return []Check{
		{
			Name:  "P20_delayed_messages_wait",
			Rule:  "a message with At must not be in the log before Promote finds that it is due, must come whole, in the order of At, and once; and not at all when its unit is rolled back",
			needs: outboxNeeded,
			run:   delayedWait,
		}, {
			Name:  "P22_delayed_messages_come_once",
			Rule:  "several who call Promote at once must bring each message to the log once, in the order of At",
			needs: outboxNeeded,
			run:   delayedOnce,
		},
	}
}

// The database's clock decides what is due. These times are so, or not, by any.
func longAgo() time.Time { return time.Date(2001, 2, 3, 4, 5, 6, 789000, time.UTC) }
func farAway() time.Time { return time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC) }

func (k *kit) append(messages ...outbox.Message) {
	k.Helper()
	k.setUp(func(_ context.Context, u *uow.Unit) error { return outbox.Append(u, messages...) })
}

func (k *kit) wantPromotion(limit, promoted int, left, due bool) {
	k.Helper()
	p, err := k.log().Promote(k.Context(), limit)
	k.must("Promote", err)
	if p.Promoted != promoted || p.Left != left || left && (p.In == 0) != due {
		k.broken("Promote of %d should bring %d messages to the log (more: %v, which are due: %v); got %+v", limit, promoted, left, due, p)
	}
}

func (k *kit) wantDelayed(when string, want int64) {
	k.Helper()
	stats, err := k.log().Stats(k.Context())
	if err != nil || stats.Delayed != want {
		k.broken("%s, Stats should count %d delayed messages; got %+v, %v", when, want, stats, err)
	}
}

// reopen opens the database again, where the harness can, and wants so many delayed
// messages.
func (k *kit) reopenDelayed(want int64) {
	k.Helper()
	if k.h.Reopen == nil {
		return
	}
	k.must("Close", k.db.Close())
	k.db = k.h.Reopen(k.TB, k.config())
	k.wantDelayed("when the database is opened again", want)
}

func delayedWait(k *kit) {
	k.wantPromotion(10, 0, false, false)
	whole := outbox.Message{
		ID: "second", Type: "second", Key: "k", Topic: "topic", Headers: map[string]string{"h": "v"}, Payload: []byte("payload"), At: longAgo().Add(time.Hour),
	}
	last := longAgo().Add(2 * time.Hour)
	k.append(
		outbox.Message{Type: "last", Key: "k", At: last}, whole,
		outbox.Message{Type: "now", Key: "k"},
		outbox.Message{Type: "first", Key: "k", At: longAgo()}, outbox.Message{Type: "last", Key: "too", At: last},
		outbox.Message{ID: "never", Type: "never", Key: "k", At: farAway()},
	)
	no := errors.New("no")
	err := k.db.Do(k.Context(), func(_ context.Context, u *uow.Unit) error {
		return errors.Join(outbox.Append(u, outbox.Message{Type: "rolled back", At: longAgo()}), no)
	})
	if !errors.Is(err, no) {
		k.broken("a unit should fail with the error of its function; got %v", err)
	}
	k.wantMessages("before Promote", "now k")
	k.wantDelayed("before Promote", 5)
	k.reopenDelayed(5)
	k.wantPromotion(1, 1, true, true)
	k.wantMessages("after Promote of one", "now k", "first k")
	k.append(outbox.Message{Type: "later", Key: "k"})
	k.wantPromotion(10, 3, true, false)
	k.wantPromotion(10, 0, true, false)
	k.wantMessages("after Promote of all", "now k", "first k", "later k", "second k", "last k", "last too")
	if got := k.messages()[3]; got.ID != whole.ID || string(got.Payload) != "payload" || got.Topic != "topic" || got.Headers["h"] != "v" ||
		!got.CreatedAt.Equal(whole.At) || !got.At.IsZero() {
		k.broken("a delayed message should come whole, its At as CreatedAt; got %+v", got)
	}
	k.wantDelayed("when one is left", 1)
	n, err := k.log().Undelay(k.Context(), []string{"never", "second", "unknown"})
	k.wantCount("Undelay of one that waits and one that does no more", n, err, 1)
	k.wantDelayed("after Undelay", 0)
	k.wantPromotion(10, 0, false, false)
	k.reopenDelayed(0)
	k.wantPromotion(10, 0, false, false)
}

func delayedOnce(k *kit) {
	const n, callers = 40, 4
	var messages []outbox.Message
	for i := range n {
		messages = append(messages, outbox.Message{ID: fmt.Sprintf("%02d", i), Type: "t", Key: "k", At: longAgo().Add(time.Duration(i) * time.Minute)})
	}
	slices.Reverse(messages)
	k.append(messages...)
	var group sync.WaitGroup
	failed := make(chan error, callers)
	log := k.log()
	for range callers {
		group.Go(func() {
			for {
				p, err := log.Promote(k.Context(), 3)
				if err != nil || !p.Left && p.Promoted == 0 {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	for range callers {
		k.must("Promote", <-failed)
	}
	var got, want []string
	for _, m := range k.messages() {
		got = append(got, m.ID)
	}
	for i := range n {
		want = append(want, fmt.Sprintf("%02d", i))
	}
	if !slices.Equal(got, want) {
		k.broken("%d delayed messages should come to the log once each, in order; got %v", n, got)
	}
}

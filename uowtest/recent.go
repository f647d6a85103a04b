package uowtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

func recentChecks() []Check {
	return []Check{
		{
			Name:  "P22_recent_is_the_log",
			Rule:  "a scan of what is recent must return what the log has, wherever it begins, with each field as it is there",
			needs: outboxNeeded,
			run:   recentIsTheLog,
		}, {
			Name:  "P22_recent_passes_nothing_of_others",
			Rule:  "a scan of what is recent must not go past a message that another process has appended",
			needs: outboxNeeded,
			run:   recentPassesNothing,
		}, {
			Name:  "P22_recent_among_writers",
			Rule:  "a reader who scans what is recent when it is woken for that, and all when it is woken for more, must see each message of units that commit and roll back at once, in the order of the log",
			needs: outboxNeeded,
			run:   recentAmongWriters,
		},
	}
}

// listens subscribes, so that the store keeps what is recent.
func (k *kit) listens() (cancel func()) { return k.log().Subscribe(func(bool) {}) }

// wantRecent compares a scan of what is recent with one of all.
func (k *kit) wantRecent(when string, after int64) {
	k.Helper()
	query := outbox.Query{After: after, Limit: 1000}
	want, end, err := k.log().Scan(k.Context(), query)
	k.must("Scan", err)
	query.Recent = true
	got, next, err := k.log().Scan(k.Context(), query)
	k.must("Scan of what is recent", err)
	if next > end || next < end && len(got) != len(want) {
		k.broken("%s, what is recent after %d should end at %d; got %d", when, after, end, next)
	}
	for i := range min(len(want), len(got)) {
		if !want[i].CreatedAt.Equal(got[i].CreatedAt) {
			k.broken("%s, message %s should be of %v; got %v", when, want[i].ID, want[i].CreatedAt, got[i].CreatedAt)
		}
		want[i].CreatedAt = got[i].CreatedAt
		if len(want[i].Payload)+len(got[i].Payload) == 0 {
			want[i].Payload = got[i].Payload
		}
		if !reflect.DeepEqual(want[i], got[i]) {
			k.broken("%s, a recent message should be %+v; got %+v", when, want[i], got[i])
		}
	}
	if len(got) != len(want) {
		k.broken("%s, %d messages should be recent after %d; got %d", when, len(want), after, len(got))
	}
}

func recentIsTheLog(k *kit) {
	defer k.listens()()
	appends := func(messages ...outbox.Message) {
		k.setUp(func(_ context.Context, u *uow.Unit) error { return outbox.Append(u, messages...) })
	}
	k.save("a")
	k.wantRecent("after an insert", 0)
	k.setUp(func(ctx context.Context, u *uow.Unit) error { return k.change(ctx, u, "a", 1) })
	k.wantRecent("after an update", 0)
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		a, err := k.accounts.In(u).Get(ctx, "a")
		return errors.Join(err, k.accounts.In(u).Remove(a))
	})
	k.save("a", "b")
	k.wantRecent("after a removal and inserts, one of them of the same row", 0)
	appends(
		outbox.Message{Type: "bare"},
		outbox.Message{Type: "whole", Topic: "tópic", Key: "k", AggregateType: "t", AggregateID: "i", Sequence: 7, Payload: []byte{0, 255},
			Headers: map[string]string{"a": "1", "": "empty", "x-\u00fc": "\n"}},
		outbox.Message{Type: "invalid", Headers: map[string]string{"h": "\xff"}},
		outbox.Message{Type: "large", Payload: make([]byte, 5<<20)},
	)
	k.wantRecent("after messages of all kinds", 0)
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		return errors.Join(outbox.Append(u, outbox.Message{Type: "flushed"}), u.Flush(k.Context()), outbox.Append(u, outbox.Message{Type: "not flushed"}))
	})
	k.wantRecent("after a flush", 0)
	k.together(20, func(i int) error {
		return k.granted(func() error {
			return k.db.Do(k.Context(), func(_ context.Context, u *uow.Unit) error {
				return outbox.Append(u, outbox.Message{Type: "one"}, outbox.Message{Type: "another", Payload: []byte(strconv.Itoa(i))})
			})
		})
	})
	for _, m := range k.messages() {
		k.wantRecent("of units at once", m.Position)
	}
}

func recentPassesNothing(k *kit) {
	defer k.listens()()
	other, _ := k.process(nil, nil)
	for i := range 6 {
		for name, db := range map[string]*uow.DB{"mine": k.db, "other": other} {
			k.must("a unit", db.Do(k.Context(), func(_ context.Context, u *uow.Unit) error {
				return outbox.Append(u, outbox.Message{Type: fmt.Sprint(name, i)})
			}))
			for _, m := range append(k.messages(), outbox.Message{}) {
				k.wantNothingPassed(m.Position)
			}
		}
	}
}

// wantNothingPassed demands that what is recent is where the log begins after a position.
func (k *kit) wantNothingPassed(after int64) {
	k.Helper()
	query := outbox.Query{After: after, Limit: 1000}
	all, _, err := k.log().Scan(k.Context(), query)
	k.must("Scan", err)
	query.Recent = true
	got, next, err := k.log().Scan(k.Context(), query)
	k.must("Scan of what is recent", err)
	for i, m := range all {
		if m.Position <= next && (i >= len(got) || got[i].ID != m.ID) {
			k.broken("what is recent after %d goes up to %d and should have message %s", after, next, m.ID)
		}
	}
}

// follower is a reader as a relay is, which never polls.
type follower struct {
	log       outbox.Log
	elsewhere atomic.Bool
	wake      chan struct{}
	got       []outbox.Message
}

// woken notes what a subscriber is told.
func (f *follower) woken(recent bool) {
	if !recent {
		f.elsewhere.Store(true)
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// follow reads until it has n messages.
func (f *follower) follow(ctx context.Context, n int) error {
	for len(f.got) < n {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return fmt.Errorf("it has %d messages of %d, and nobody wakes it: %w", len(f.got), n, ctx.Err())
		}
		if err := f.read(ctx); err != nil {
			return err
		}
	}
	return nil
}

// read reads what it was woken for, to the end.
func (f *follower) read(ctx context.Context) error {
	for {
		elsewhere := f.elsewhere.Swap(false)
		query := outbox.Query{Limit: 5, Recent: !elsewhere}
		if n := len(f.got); n > 0 {
			query.After = f.got[n-1].Position
		}
		messages, _, err := f.log.Scan(ctx, query)
		f.got = append(f.got, messages...)
		if err != nil || len(messages) < query.Limit {
			return err
		}
		if elsewhere { // it has not seen the end
			f.elsewhere.Store(true)
		}
	}
}

func recentAmongWriters(k *kit) {
	const writers, rounds, kept = 4, 25, 20
	ctx, cancel := context.WithTimeout(k.Context(), 10*time.Second)
	defer cancel()
	f := &follower{log: k.log(), wake: make(chan struct{}, 1)}
	f.elsewhere.Store(true)
	defer f.log.Subscribe(f.woken)()
	k.must("reading an empty log", f.read(ctx)) // so that it has seen the end
	ended := make(chan error, 1)
	go func() { ended <- f.follow(ctx, writers*kept) }()
	no := errors.New("rolled back")
	k.together(writers, func(i int) error {
		for round := range rounds {
			err := k.granted(func() error {
				return k.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
					err := outbox.Append(u, outbox.Message{Type: "happened", Key: strconv.Itoa(i)})
					if round%5 == i { // its position, where it has one by then, is gone
						return errors.Join(err, u.Flush(ctx), no)
					}
					return err
				})
			})
			if err != nil && !errors.Is(err, no) {
				return err
			}
		}
		return nil
	})
	k.must("reading what is recent", <-ended)
	all := k.messages()
	for i := range min(len(all), len(f.got)) {
		if all[i].ID != f.got[i].ID {
			k.broken("message %d that was read should be %s; got %s", i+1, all[i].ID, f.got[i].ID)
			return
		}
	}
	if len(all) != writers*kept {
		k.broken("the log should have %d messages; got %d", writers*kept, len(all))
	}
}

package uowtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

func eventChecks() []Check {
	return []Check{
		{
			Name:  "P19_events_and_messages_in_order",
			Rule:  "events and messages must be stored in the order in which they were recorded and appended, flushed or not, with each aggregate's place in its stream",
			needs: outboxNeeded,
			run:   eventsInOrder,
		}, {
			Name:  "P19_rollback_stores_none",
			Rule:  "a rollback must store no event and no message, flushed or not",
			needs: outboxNeeded,
			run:   rollbackStoresNone,
		}, {
			Name:  "P19_sequences_have_no_gaps",
			Rule:  "the events of an aggregate must be numbered 1, 2, 3 … for its whole life, also when it was removed and added again",
			needs: outboxNeeded,
			run:   sequencesHaveNoGaps,
		}, {
			Name:  "P19_messages_are_kept_whole",
			Rule:  "a store must keep each field of a message as it is",
			needs: outboxNeeded,
			run:   messagesAreKeptWhole,
		}, {
			Name:  "P20_nothing_before_the_commit",
			Rule:  "no message may be seen, and no subscriber called, before the commit of its unit; after it the message must be seen, and each subscriber called",
			needs: outboxNeeded,
			run:   nothingBeforeTheCommit,
		}, {
			Name:  "P20_nothing_is_forgotten",
			Rule:  "a message that was scanned, but not settled, must be scanned again, with the same id",
			needs: outboxNeeded,
			run:   nothingIsForgotten,
		},
	}
}

func eventsInOrder(k *kit) {
	for _, flush := range []bool{false, true} {
		suffix := fmt.Sprint(flush)
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			b, a := &account{ID: "b" + suffix}, &account{ID: "a" + suffix}
			b.open("bob")
			k.must("Add", errors.Join(k.accounts.In(u).Add(b), k.accounts.In(u).Add(a)))
			k.must("Append", outbox.Append(u, outbox.Message{Type: "note", Key: "k" + suffix}))
			a.open("alice")
			if flush {
				k.must("Flush", u.Flush(ctx))
			}
			b.add(1)
			k.must("Append", outbox.Append(u, outbox.Message{Type: "note", Key: "k" + suffix}))
			a.add(2)
			b.add(3)
			return nil
		})
		k.must("the unit", err)
	}
	var want []string
	for _, s := range []string{"false", "true"} {
		want = append(want, "opened accounts/b"+s, "note k"+s, "opened accounts/a"+s,
			"changed accounts/b"+s, "note k"+s, "changed accounts/a"+s, "changed accounts/b"+s)
	}
	k.wantMessages("after two units", want...)
	sequences, last := []int64{1, 0, 1, 2, 0, 2, 3}, int64(0)
	for i, m := range k.messages() {
		if m.Sequence != sequences[i%7] {
			k.broken("message %d, %s of %s, should have the sequence %d; got %d", i, m.Type, m.Key, sequences[i%7], m.Sequence)
		}
		if m.Position <= last {
			k.broken("positions should grow; got %d after %d", m.Position, last)
		}
		last = m.Position
		k.wantEvent(m)
	}
}

// wantEvent demands that a message of an aggregate is complete.
func (k *kit) wantEvent(m outbox.Message) {
	k.Helper()
	if m.ID == "" || !m.CreatedAt.Equal(k.clock.Now()) {
		k.broken("each message should have an id and the unit's time; got %q and %s", m.ID, m.CreatedAt)
	}
	if m.Type == "note" {
		return
	}
	if m.AggregateType != "accounts" || m.Key != "accounts/"+m.AggregateID || m.Topic != "accounts" ||
		m.Headers["content-type"] != "application/json" || !json.Valid(m.Payload) {
		k.broken("an event's message should name its aggregate and its content type; got %+v", m)
	}
}

func rollbackStoresNone(k *kit) {
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		a := &account{ID: "a"}
		a.open("alice")
		k.must("Add", k.accounts.In(u).Add(a))
		k.must("Append", outbox.Append(u, outbox.Message{Type: "note"}))
		k.must("Flush", u.Flush(ctx))
		a.add(1)
		k.must("Append", outbox.Append(u, outbox.Message{Type: "note"}))
		return errBoom
	})
	if !errors.Is(err, errBoom) {
		k.broken("the closure's error should come back; got %v", err)
	}
	k.wantMessages("after a rollback")
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		return outbox.Append(u, outbox.Message{Type: "real", Key: "k"})
	})
	k.wantMessages("after a rollback and a commit", "real k")
}

func sequencesHaveNoGaps(k *kit) {
	edit := func(fn func(ctx context.Context, u *uow.Unit, r *uow.Repository[account]) error) {
		k.Helper()
		k.must("a unit", k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			return fn(ctx, u, k.accounts.In(u))
		}))
	}
	add := func(_ context.Context, _ *uow.Unit, r *uow.Repository[account]) error {
		a := &account{ID: "a"}
		a.open("alice")
		a.add(1)
		return r.Add(a)
	}
	change := func(ctx context.Context, u *uow.Unit, r *uow.Repository[account]) error {
		a, err := r.Get(ctx, "a")
		if err == nil {
			a.add(1)
			err = u.Flush(ctx)
			a.add(1)
		}
		return err
	}
	remove := func(ctx context.Context, u *uow.Unit, r *uow.Repository[account]) error {
		a, err := r.Get(ctx, "a")
		if err != nil {
			return err
		}
		a.add(-1)
		return r.Remove(a)
	}
	edit(add)
	edit(change)
	edit(func(ctx context.Context, u *uow.Unit, _ *uow.Repository[account]) error {
		return k.change(ctx, u, "a", 1)
	})
	edit(remove)
	edit(add)
	edit(change)
	edit(func(ctx context.Context, u *uow.Unit, r *uow.Repository[account]) error { // all in one unit
		return errors.Join(remove(ctx, u, r), u.Flush(ctx), add(ctx, u, r), change(ctx, u, r))
	})
	var got []int64
	for _, m := range k.messages() {
		got = append(got, m.Sequence)
	}
	if fmt.Sprint(got) != "[1 2 3 4 5 6 7 8 9 10 11 12 13 14]" {
		k.broken("14 events over two removals should be numbered 1 to 14; got %v", got)
	}
}

func messagesAreKeptWhole(k *kit) {
	want := []outbox.Message{
		{
			ID: "018f3b1e-0000-7000-8000-000000000001", Topic: "tópic/🐘", Key: "key with ' and \"", Type: "type",
			AggregateType: "kind", AggregateID: "id", Sequence: 41,
			Payload: []byte{0, 1, 254, 255, '\n'}, Headers: map[string]string{"a": "1", "": "empty", "x-\u00fc": "\n"},
		},
		{ID: "2", Type: "bare"},
		{ID: "3", Type: "large", Payload: bytes.Repeat([]byte("0123456789"), 100_000)},
	}
	given := make([]outbox.Message, len(want))
	for i, m := range want {
		given[i] = m
		given[i].Payload, given[i].Headers = bytes.Clone(m.Payload), maps.Clone(m.Headers)
	}
	k.must("the unit", k.do(k.Context(), func(_ context.Context, u *uow.Unit) error { return outbox.Append(u, given...) }))
	given[0].Payload[0], given[0].Headers["a"] = 9, "changed by the caller"
	for range 2 {
		got := k.messages()
		if len(got) != len(want) {
			k.broken("there should be %d messages; got %d", len(want), len(got))
			return
		}
		for i := range want {
			k.wantSame(want[i], got[i])
		}
		got[0].Payload[0], got[0].Headers["a"] = 9, "changed by the reader"
	}
}

func (k *kit) wantSame(want, got outbox.Message) {
	k.Helper()
	if !got.CreatedAt.Equal(k.clock.Now()) || got.Position == 0 || !bytes.Equal(want.Payload, got.Payload) || !maps.Equal(want.Headers, got.Headers) {
		k.broken("message %s should have its time, a position, its payload and its headers %q; got %s, %d, %d bytes and %q",
			want.ID, want.Headers, got.CreatedAt, got.Position, len(got.Payload), got.Headers)
	}
	for _, m := range []*outbox.Message{&want, &got} {
		m.Payload, m.Headers, m.Position, m.CreatedAt = nil, nil, 0, time.Time{}
	}
	if fmt.Sprintf("%+v", want) != fmt.Sprintf("%+v", got) {
		k.broken("a message should come back as %+v; got %+v", want, got)
	}
}

func nothingBeforeTheCommit(k *kit) {
	calls := make(chan struct{}, 100)
	cancel := k.log().Subscribe(func(bool) { calls <- struct{}{} })
	ctx := k.Context()
	u := k.db.Begin()
	defer u.Close()
	k.must("Append", outbox.Append(u, outbox.Message{Type: "first", Key: "k"}))
	k.must("Flush", u.Flush(ctx))
	k.must("Append", outbox.Append(u, outbox.Message{Type: "second", Key: "k"}))
	k.wantMessages("after a flush and before the commit")
	if len(calls) > 0 {
		k.broken("a subscriber should not be called before the commit; got %d calls", len(calls))
	}
	k.must("Commit", u.Commit(ctx))
	k.wantMessages("after the commit", "first k", "second k")
	k.eventually("a subscriber should be called after the commit", func() bool { return len(calls) > 0 })
	cancel()
	for len(calls) > 0 {
		<-calls
	}
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		return outbox.Append(u, outbox.Message{Type: "third", Key: "k"})
	})
	if len(calls) > 0 {
		k.broken("a subscriber should not be called after it cancelled; got %d calls", len(calls))
	}
}

func nothingIsForgotten(k *kit) {
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		return outbox.Append(u, outbox.Message{Type: "first", Key: "k"})
	})
	lease, err := k.log().Acquire(k.Context(), outbox.Claim{Cursor: "relay", Force: true})
	k.must("Acquire", err)
	first, _, err := k.log().Scan(k.Context(), outbox.Query{After: lease.Position, Limit: 10})
	k.must("Scan", err)
	lease, err = k.log().Acquire(k.Context(), outbox.Claim{Cursor: "relay", Force: true})
	k.must("Acquire", err)
	again, _, err := k.log().Scan(k.Context(), outbox.Query{After: lease.Position, Limit: 10})
	k.must("Scan", err)
	if len(first) != 1 || len(again) != 1 || first[0].ID != again[0].ID || first[0].ID == "" {
		k.broken("two relays, the first of which settled nothing, should both get the message with the same id; got %v and %v", first, again)
	}
}

package uowtest

import (
	"context"
	"fmt"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

func heldChecks() []Check {
	return []Check{
		{
			Name:  "P23_held_messages_are_listed",
			Rule:  "held messages must be listed in position order, with their state and the whole message, and selected by state, key, due time and limit",
			needs: outboxNeeded,
			run:   heldAreListed,
		}, {
			Name:  "P23_held_state_changes",
			Rule:  "a settlement must replace the state of a held message and release delivered ones, and be the same when it is repeated",
			needs: outboxNeeded,
			run:   heldStateChanges,
		}, {
			Name:  "P23_redrive",
			Rule:  "Redrive must make exactly the parked messages named due at once, with their attempts forgotten, and count them",
			needs: outboxNeeded,
			run:   redrive,
		}, {
			Name:  "P23_discard",
			Rule:  "Discard must give exactly the held messages named up, whatever their state, and count them",
			needs: outboxNeeded,
			run:   discard,
		}, {
			Name:  "P23_park",
			Rule:  "Park must park exactly the messages named that are held, not parked and the first of their key, with the reason, and count them",
			needs: outboxNeeded,
			run:   parkByHand,
		}, {
			Name:  "P23_park_stops_keys",
			Rule:  "Park must stop a key of which nothing is held by the last of the messages named that every partition of the cursor has passed, and leave others alone",
			needs: outboxNeeded,
			run:   parkDelivered,
		}, {
			Name:  "P23_replay",
			Rule:  "Replay must hold exactly the messages named that every partition of the cursor has passed and that are not held, due at once, and leave the position",
			needs: outboxNeeded,
			run:   replay,
		}, {
			Name:  "P23_replay_of_partitions",
			Rule:  "Replay and Park must leave messages alone that some partition of the cursor has not passed",
			needs: outboxNeeded,
			run:   replayOfPartitions,
		}, {
			Name:  "P23_discard_stays",
			Rule:  "a Hold at or before the cursor's position that is not held any more must be ignored, so that a discarded message stays discarded",
			needs: outboxNeeded,
			run:   discardStays,
		}, {
			Name:  "P23_held_belongs_to_its_cursor",
			Rule:  "what one cursor holds, redrives and discards must not touch another cursor",
			needs: outboxNeeded,
			run:   heldBelongsToCursor,
		},
	}
}

// relay is a log with messages and a lease on a cursor.
type relay struct {
	*kit
	log       outbox.Log
	lease     outbox.Lease
	positions []int64
	ids       map[int64]string
}

// newRelay appends messages with these keys and acquires a cursor.
func (k *kit) newRelay(cursor string, keys ...string) *relay {
	k.Helper()
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		for i, key := range keys {
			if err := outbox.Append(u, outbox.Message{Type: "t", Key: key, Topic: "topic", Payload: fmt.Append(nil, i)}); err != nil {
				return err
			}
		}
		return nil
	})
	r := &relay{kit: k, log: k.log(), ids: map[int64]string{}}
	r.lease = r.acquire(cursor)
	for _, m := range k.messages() {
		r.positions = append(r.positions, m.Position)
		r.ids[m.Position] = m.ID
	}
	return r
}

func (r *relay) acquire(cursor string) outbox.Lease {
	r.Helper()
	lease, err := r.log.Acquire(r.Context(), outbox.Claim{Cursor: cursor, Force: true})
	r.must("Acquire", err)
	return lease
}

// hold returns the state of the i-th message.
func (r *relay) hold(i int, key string, state outbox.HoldState) outbox.Hold {
	h := outbox.Hold{Position: r.positions[i], Key: key, State: state, Since: r.clock.Now()}
	if state != outbox.Waiting {
		h.Attempts, h.Reason = 3, "no route"
	}
	if state == outbox.Retrying {
		h.NextAt = r.clock.Now().Add(time.Minute)
	}
	return h
}

func (r *relay) settle(s outbox.Settlement) {
	r.Helper()
	r.must("Settle", r.log.Settle(r.Context(), r.lease, s))
}

// park holds messages 0 to 4: a is parked with one waiting behind, b is to be
// retried, and two have no key.
func (r *relay) park() {
	r.Helper()
	r.settle(outbox.Settlement{Position: r.positions[len(r.positions)-1], Hold: []outbox.Hold{
		r.hold(0, "a", outbox.Parked), r.hold(1, "a", outbox.Waiting), r.hold(2, "b", outbox.Retrying),
		r.hold(3, "", outbox.Parked), r.hold(4, "", outbox.Retrying),
	}})
}

// wantHeld demands that the cursor holds these messages, by their number.
func (r *relay) wantHeld(when string, filter outbox.HeldFilter, want ...int) []outbox.Held {
	r.Helper()
	held, err := r.log.Held(r.Context(), r.lease.Cursor, filter)
	r.must("Held", err)
	positions := []int64{}
	for _, h := range held {
		positions = append(positions, h.Position)
		if h.Message.ID != r.ids[h.Position] || h.Message.Position != h.Position {
			r.broken("%s, the held message at %d should be message %s; got %s at %d", when, h.Position, r.ids[h.Position], h.Message.ID, h.Message.Position)
		}
	}
	wanted := []int64{}
	for _, i := range want {
		wanted = append(wanted, r.positions[i])
	}
	if fmt.Sprint(positions) != fmt.Sprint(wanted) {
		r.broken("%s, the cursor should hold the positions %v (filter %+v); got %v", when, wanted, filter, positions)
	}
	return held
}

func (r *relay) wantHold(got, want outbox.Hold) {
	r.Helper()
	if !got.NextAt.Equal(want.NextAt) || !got.Since.Equal(want.Since) {
		r.broken("position %d should be held since %s and be due at %s; got %s and %s", want.Position, want.Since, want.NextAt, got.Since, got.NextAt)
	}
	for _, h := range []*outbox.Hold{&got, &want} {
		h.NextAt, h.Since = time.Time{}, time.Time{}
	}
	if got != want {
		r.broken("position %d should be held as %+v; got %+v", want.Position, want, got)
	}
}

func heldAreListed(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "", "c")
	r.wantHeld("before anything was held", outbox.HeldFilter{})
	r.park()
	const when = "after a settlement"
	held := r.wantHeld(when, outbox.HeldFilter{}, 0, 1, 2, 3, 4)
	if len(held) == 5 {
		r.wantHold(held[0].Hold, r.hold(0, "a", outbox.Parked))
		r.wantHold(held[1].Hold, r.hold(1, "a", outbox.Waiting))
		r.wantHold(held[2].Hold, r.hold(2, "b", outbox.Retrying))
		if string(held[2].Message.Payload) != "2" || held[2].Message.Topic != "topic" {
			k.broken("a held message should come whole; got %+v", held[2].Message)
		}
	}
	a, none := "a", ""
	r.wantHeld(when, outbox.HeldFilter{State: outbox.Parked}, 0, 3)
	r.wantHeld(when, outbox.HeldFilter{State: outbox.Waiting}, 1)
	r.wantHeld(when, outbox.HeldFilter{Key: &a}, 0, 1)
	r.wantHeld(when, outbox.HeldFilter{Key: &none}, 3, 4)
	r.wantHeld(when, outbox.HeldFilter{Key: &a, State: outbox.Waiting}, 1)
	r.wantHeld(when, outbox.HeldFilter{Limit: 2}, 0, 1)
	r.wantHeld(when, outbox.HeldFilter{State: outbox.Parked, Limit: 1}, 0)
	r.wantHeld(when, outbox.HeldFilter{After: r.positions[1], Limit: 2}, 2, 3)
	r.wantHeld(when, outbox.HeldFilter{After: r.positions[4]})
	r.wantHeld("before anything is due", outbox.HeldFilter{DueAt: k.clock.Now()})
	r.wantHeld("when it is due", outbox.HeldFilter{DueAt: k.clock.Now().Add(time.Minute)}, 2, 4)
}

func heldStateChanges(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "", "c")
	r.park()
	since := k.clock.Now()
	k.clock.advance(time.Hour)
	again := r.hold(2, "b", outbox.Parked)
	again.Attempts, again.Reason, again.Since = 4, "refused", since
	s := outbox.Settlement{Hold: []outbox.Hold{again}, Release: []int64{r.positions[4]}}
	for range 2 { // a relay repeats what it got no answer to
		r.settle(s)
		if held := r.wantHeld("after a settlement that released message 4", outbox.HeldFilter{}, 0, 1, 2, 3); len(held) == 4 {
			r.wantHold(held[2].Hold, again)
		}
	}
	if stats := r.stats("relay"); stats.Position != r.positions[5] {
		k.broken("a settlement with position 0 should leave the cursor at %d; got %+v", r.positions[5], stats)
	}
}

// stats returns what the log says about a cursor.
func (r *relay) stats(cursor string) outbox.CursorStats {
	r.Helper()
	stats, err := r.log.Stats(r.Context())
	r.must("Stats", err)
	for _, c := range stats.Cursors {
		if c.Cursor == cursor {
			return c
		}
	}
	return outbox.CursorStats{}
}

func (k *kit) wantCount(what string, got int, err error, want int) {
	k.Helper()
	if err != nil || got != want {
		k.broken("%s should change %d messages; got %d, %v", what, want, got, err)
	}
}

func redrive(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "", "c")
	r.park()
	k.clock.advance(time.Second)
	n, err := r.log.Redrive(k.Context(), "relay", []int64{r.positions[0], r.positions[1], r.positions[2], r.positions[5], 1 << 40})
	k.wantCount("Redrive of a parked, a waiting, a retrying, a delivered and a missing message", n, err, 1)
	r.wantHeld("after Redrive", outbox.HeldFilter{State: outbox.Parked}, 3)
	r.wantHeld("after Redrive", outbox.HeldFilter{State: outbox.Waiting}, 1)
	due := r.wantHeld("after Redrive", outbox.HeldFilter{DueAt: k.clock.Now()}, 0)
	if len(due) == 1 && (due[0].Attempts != 0 || due[0].State != outbox.Retrying) {
		k.broken("a redriven message should be retrying with no attempts; got %+v", due[0].Hold)
	}
	n, err = r.log.Redrive(k.Context(), "nobody", []int64{r.positions[3]})
	k.wantCount("Redrive by a cursor that does not exist", n, err, 0)
}

func discard(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "", "c")
	r.park()
	n, err := r.log.Discard(k.Context(), "relay", []int64{r.positions[0], r.positions[2], r.positions[5], 1 << 40})
	k.wantCount("Discard of a parked, a retrying, a delivered and a missing message", n, err, 2)
	r.wantHeld("after Discard", outbox.HeldFilter{}, 1, 3, 4)
	n, err = r.log.Discard(k.Context(), "relay", []int64{r.positions[0]})
	k.wantCount("a second Discard of the same message", n, err, 0)
	n, err = r.log.Discard(k.Context(), "relay", nil)
	k.wantCount("Discard of no message", n, err, 0)
	r.wantHeld("after Discard", outbox.HeldFilter{}, 1, 3, 4)
	if got := len(k.messages()); got != 6 {
		k.broken("a discarded message should stay in the log until it is trimmed; of 6 messages the log has %d", got)
	}
}

func parkByHand(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "", "c")
	r.park()
	n, err := r.log.Park(k.Context(), "relay", []int64{r.positions[0], r.positions[1], r.positions[2], r.positions[4], 1 << 40}, "by hand")
	k.wantCount("Park of a parked, a waiting, two retrying and a missing message", n, err, 2)
	parked := r.wantHeld("after Park", outbox.HeldFilter{State: outbox.Parked}, 0, 2, 3, 4)
	if len(parked) == 4 {
		if parked[0].Reason != "no route" || parked[1].Reason != "by hand" || parked[1].Attempts != 3 || !parked[1].NextAt.IsZero() {
			k.broken("a message that Park has parked should have its reason, its attempts and no time, and one that was parked before be as it was; got %+v and %+v", parked[1].Hold, parked[0].Hold)
		}
	}
	r.wantHeld("after Park", outbox.HeldFilter{State: outbox.Waiting}, 1)
	n, err = r.log.Discard(k.Context(), "relay", []int64{r.positions[0]})
	k.wantCount("Discard of the first of a key", n, err, 1)
	n, err = r.log.Park(k.Context(), "relay", []int64{r.positions[1]}, "by hand")
	k.wantCount("Park of a waiting message that is the first of its key", n, err, 1)
	n, err = r.log.Redrive(k.Context(), "relay", []int64{r.positions[2]})
	k.wantCount("Redrive of a message that Park has parked", n, err, 1)
	n, err = r.log.Park(k.Context(), "nobody", []int64{r.positions[2]}, "by hand")
	k.wantCount("Park by a cursor that does not exist", n, err, 0)
	n, err = r.log.Park(k.Context(), "relay", nil, "by hand")
	k.wantCount("Park of no message", n, err, 0)
}

func parkDelivered(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "c", "c", "d", "b", "a", "e")
	r.settle(outbox.Settlement{Position: r.positions[8], Hold: []outbox.Hold{r.hold(2, "b", outbox.Retrying), r.hold(7, "b", outbox.Waiting)}})
	named := []int64{1 << 40, r.positions[5], r.positions[4]}
	for _, i := range []int{0, 1, 3, 4, 7, 9} {
		named = append(named, r.positions[i])
	}
	for _, want := range []int{2, 0} {
		n, err := r.log.Park(k.Context(), "relay", named, "by hand")
		k.wantCount("Park of delivered messages of two keys and of none, of one that waits, of a new and a missing one", n, err, want)
		parked := r.wantHeld("after Park of delivered messages", outbox.HeldFilter{State: outbox.Parked}, 1, 5)
		for _, h := range parked {
			if h.Key != h.Message.Key || h.Attempts != 0 || h.Reason != "by hand" || h.Since.IsZero() || !h.NextAt.IsZero() {
				k.broken("a message that Park has stopped a key by should be held with the key, the reason, no attempts and no time; got %+v", h.Hold)
			}
		}
	}
	r.wantHeld("after Park of delivered messages", outbox.HeldFilter{}, 1, 2, 5, 7)
	if at := r.stats("relay").Position; at != r.positions[8] {
		k.broken("after Park the cursor should still be at %d; got %d", r.positions[8], at)
	}
	n, err := r.log.Redrive(k.Context(), "relay", []int64{r.positions[1]})
	k.wantCount("Redrive of a message that had been delivered", n, err, 1)
	n, err = r.log.Discard(k.Context(), "relay", []int64{r.positions[5]})
	k.wantCount("Discard of a message that had been delivered", n, err, 1)
	n, err = r.log.Park(k.Context(), "relay", []int64{r.positions[4]}, "again")
	k.wantCount("Park of a message of a key of which nothing is held any more", n, err, 1)
	n, err = r.log.Park(k.Context(), "nobody", r.positions, "by hand")
	k.wantCount("Park by a cursor that does not exist", n, err, 0)
	r.settle(outbox.Settlement{Release: []int64{r.positions[4]}})
	r.wantHeld("when what was parked was delivered once more", outbox.HeldFilter{}, 1, 2, 7)
}

func replay(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "", "c", "d", "e")
	r.settle(outbox.Settlement{Position: r.positions[6], Hold: []outbox.Hold{r.hold(0, "a", outbox.Parked), r.hold(1, "a", outbox.Waiting)}})
	n, err := r.log.Discard(k.Context(), "relay", []int64{r.positions[1]})
	k.wantCount("Discard", n, err, 1)
	r.wantTrimmed(5)
	all := append([]int64{1 << 40, r.positions[2]}, r.positions...)
	for _, want := range []int{5, 0} {
		n, err = r.log.Replay(k.Context(), "relay", all)
		k.wantCount("Replay of five delivered messages, one of them named twice and one discarded, and of a held, a new and a missing one", n, err, want)
		held := r.wantHeld("after Replay", outbox.HeldFilter{}, 0, 1, 2, 3, 4, 6)
		if len(held) != 6 {
			return
		}
		r.wantHold(held[0].Hold, r.hold(0, "a", outbox.Parked))
		for _, h := range held[1:] {
			if h.State != outbox.ReplayState(h.Message.Key) || h.Key != h.Message.Key || h.Attempts != 0 || h.Reason != "" || h.Since.IsZero() || h.NextAt.After(h.Since) {
				k.broken("a replayed message should be held with its key, due at once and with no attempts; got %+v", h.Hold)
			}
		}
	}
	r.wantHeld("when replayed messages without a key are due", outbox.HeldFilter{DueAt: k.clock.Now()}, 3, 4)
	if at := r.stats("relay").Position; at != r.positions[6] {
		k.broken("after Replay the cursor should still be at %d; got %d", r.positions[6], at)
	}
	r.settle(outbox.Settlement{Release: []int64{r.positions[2]}})
	n, err = r.log.Replay(k.Context(), "relay", []int64{r.positions[2]})
	k.wantCount("Replay of a message that was replayed and delivered", n, err, 1)
	n, err = r.log.Replay(k.Context(), "nobody", r.positions)
	k.wantCount("Replay to a cursor that does not exist", n, err, 0)
	n, err = r.log.Replay(k.Context(), "relay", nil)
	k.wantCount("Replay of no message", n, err, 0)
}

// wantTrimmed has the i-th message trimmed, which nobody may bring back.
func (r *relay) wantTrimmed(i int) {
	r.Helper()
	var hold []outbox.Hold
	for j, at := range r.positions {
		if j != i && at <= r.stats("relay").Position {
			hold = append(hold, outbox.Hold{Position: at, State: outbox.Waiting, Since: r.clock.Now()})
		}
	}
	keep := r.acquire("keep")
	r.must("Settle", r.log.Settle(r.Context(), keep, outbox.Settlement{Position: r.positions[len(r.positions)-1], Hold: hold}))
	n, err := r.log.Trim(r.Context(), r.clock.Now().Add(time.Microsecond), 100)
	r.wantCount("Trim of what no cursor needs", n, err, 1)
	r.must("Drop", r.log.Drop(r.Context(), "keep"))
}

func replayOfPartitions(k *kit) {
	r := k.newRelay("relay", "a", "b", "c", "d")
	k.must("Drop", r.log.Drop(k.Context(), "relay"))
	leases := make([]outbox.Lease, 2)
	for i := range leases {
		var err error
		leases[i], err = r.log.Acquire(k.Context(), outbox.Claim{Cursor: "relay", Partition: i, Partitions: 2, Owner: "me", TTL: time.Hour})
		k.must("Acquire", err)
		k.must("Settle", r.log.Settle(k.Context(), leases[i], outbox.Settlement{Position: r.positions[1+2*i]}))
	}
	n, err := r.log.Replay(k.Context(), "relay", r.positions)
	k.wantCount("Replay of messages of which one partition has passed two, and the other all", n, err, 2)
	r.wantHeld("after Replay", outbox.HeldFilter{}, 0, 1)
	n, err = r.log.Replay(k.Context(), leases[0].Row(), r.positions)
	k.wantCount("Replay to what is no cursor but a partition", n, err, 0)
	n, err = r.log.Park(k.Context(), leases[0].Row(), r.positions, "by hand")
	k.wantCount("Park at what is no cursor but a partition", n, err, 0)
	n, err = r.log.Discard(k.Context(), "relay", r.positions)
	k.wantCount("Discard of both", n, err, 2)
	n, err = r.log.Park(k.Context(), "relay", r.positions, "by hand")
	k.wantCount("Park of messages of which one partition has passed two, and the other all", n, err, 2)
}

func heldBelongsToCursor(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "", "c")
	r.park()
	other := &relay{kit: k, log: r.log, lease: r.acquire("other"), positions: r.positions, ids: r.ids}
	other.wantHeld("for a cursor that holds nothing", outbox.HeldFilter{})
	other.settle(outbox.Settlement{Hold: []outbox.Hold{other.hold(0, "a", outbox.Parked)}})
	n, err := r.log.Redrive(k.Context(), "other", []int64{r.positions[0], r.positions[3]})
	k.wantCount("Redrive by a cursor that holds one of two", n, err, 1)
	n, err = r.log.Discard(k.Context(), "other", []int64{r.positions[0], r.positions[1]})
	k.wantCount("Discard by a cursor that holds one of two", n, err, 1)
	r.wantHeld("after the other cursor's Redrive and Discard", outbox.HeldFilter{State: outbox.Parked}, 0, 3)
	r.wantHeld("after the other cursor's Redrive and Discard", outbox.HeldFilter{}, 0, 1, 2, 3, 4)
}

func discardStays(k *kit) {
	r := k.newRelay("relay", "a", "b", "c", "d", "", "", "e", "f")
	first := outbox.Settlement{Position: r.positions[5], Hold: []outbox.Hold{
		r.hold(0, "a", outbox.Parked), r.hold(1, "b", outbox.Retrying), r.hold(2, "c", outbox.Parked), r.hold(3, "d", outbox.Waiting),
	}}
	r.settle(first)
	n, err := r.log.Discard(k.Context(), "relay", []int64{r.positions[0], r.positions[1]})
	k.wantCount("Discard of a parked and a retrying message", n, err, 2)
	r.settle(outbox.Settlement{Release: []int64{r.positions[3]}})
	for range 2 {
		r.settle(outbox.Settlement{Hold: []outbox.Hold{
			r.hold(0, "a", outbox.Parked), r.hold(1, "b", outbox.Retrying), r.hold(2, "c", outbox.Parked),
			r.hold(3, "d", outbox.Retrying), r.hold(4, "", outbox.Parked),
		}})
		r.wantHeld("after Hold of messages that were discarded, delivered later and delivered at once", outbox.HeldFilter{}, 2)
	}
	r.settle(first) // as a relay that got no answer does
	r.wantHeld("after the first settlement was repeated", outbox.HeldFilter{}, 2)

	onward := outbox.Settlement{Position: r.positions[7], Hold: []outbox.Hold{r.hold(0, "a", outbox.Parked), r.hold(6, "e", outbox.Parked)}}
	for range 2 {
		r.settle(onward)
		r.wantHeld("after a settlement that goes on, and holds a discarded and a new message", outbox.HeldFilter{}, 2, 6)
	}
	n, err = r.log.Discard(k.Context(), "relay", []int64{r.positions[6]})
	k.wantCount("Discard of the new message", n, err, 1)
	r.settle(onward)
	r.wantHeld("after the new message was discarded, and its settlement repeated", outbox.HeldFilter{}, 2)
}

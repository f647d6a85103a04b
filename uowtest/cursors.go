package uowtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uow-go/uow/outbox"
)

func cursorChecks() []Check {
	return []Check{
		{
			Name:  "Log_scan_goes_on_where_it_stopped",
			Rule:  "Scan must return at most limit messages after a position, those of the topics if any are given, and how far it looked",
			needs: outboxNeeded,
			run:   scanGoesOn,
		}, {
			Name:  "Log_acquire",
			Rule:  "Acquire must begin a new cursor at position 0, keep the position of a known one, give an epoch greater than every earlier one of the cursor, and tell the database's time",
			needs: outboxNeeded,
			run:   acquire,
		}, {
			Name:  "Log_stale_lease_changes_nothing",
			Rule:  "Settle with a lease that is not the cursor's newest must return ErrLeaseLost and change nothing",
			needs: outboxNeeded,
			run:   staleLease,
		}, {
			Name:  "Log_lease_of_a_dropped_cursor",
			Rule:  "Drop must forget a cursor and what it holds, and its leases must stay stale when it is acquired anew",
			needs: outboxNeeded,
			run:   droppedCursor,
		}, {
			Name:  "Log_cursors_are_independent",
			Rule:  "each cursor must have its own position and its own leases",
			needs: outboxNeeded,
			run:   independentCursors,
		}, {
			Name:  "Log_stats",
			Rule:  "Stats must describe the log's end, its messages, and for each cursor position, epoch, held messages by state and the oldest message not delivered",
			needs: outboxNeeded,
			run:   stats,
		},
	}
}

func (r *relay) wantScan(after int64, limit int, topics []string, next int64, want ...int) {
	r.Helper()
	got, gotNext, err := r.log.Scan(r.Context(), outbox.Query{After: after, Limit: limit, Topics: topics})
	r.must("Scan", err)
	positions, wanted := []int64{}, []int64{}
	for _, m := range got {
		positions = append(positions, m.Position)
	}
	for _, i := range want {
		wanted = append(wanted, r.positions[i])
	}
	if !slices.Equal(positions, wanted) {
		r.broken("Scan after %d with limit %d and topics %v should return the positions %v; got %v", after, limit, topics, wanted, positions)
	}
	if gotNext != next {
		r.broken("Scan after %d with limit %d and topics %v should have looked up to %d; got %d", after, limit, topics, next, gotNext)
	}
}

func scanGoesOn(k *kit) {
	r := k.newRelay("relay")
	r.wantScan(0, 10, nil, 0)
	r = k.newRelay("relay", "a", "b", "c", "d")
	p := r.positions
	r.wantScan(0, 10, nil, p[3], 0, 1, 2, 3)
	r.wantScan(0, 2, nil, p[1], 0, 1)
	r.wantScan(p[1], 2, nil, p[3], 2, 3)
	r.wantScan(p[3], 2, nil, p[3])
	r.wantScan(0, 10, []string{"topic", "other"}, p[3], 0, 1, 2, 3)
	got, next, err := r.log.Scan(k.Context(), outbox.Query{Limit: 10, Topics: []string{"other"}})
	if err != nil || len(got) != 0 || next < 0 || next > p[3] {
		k.broken("Scan of a topic without messages should return none, and have looked at most up to %d; got %v, %d, %v", p[3], got, next, err)
	}
	got, _, err = r.log.Scan(k.Context(), outbox.Query{Limit: 1, Topics: []string{"topic"}})
	if err != nil || len(got) != 1 || got[0].Position != p[0] {
		k.broken("Scan of one message of a topic should return the first; got %v, %v", got, err)
	}
}

func acquire(k *kit) {
	r := k.newRelay("relay", "a", "b")
	if r.lease.Position != 0 || r.lease.Cursor != "relay" {
		k.broken("a new cursor should be at position 0; got %+v", r.lease)
	}
	r.settle(outbox.Settlement{Position: r.positions[0]})
	again := r.acquire("relay")
	if again.Position != r.positions[0] || again.Epoch <= r.lease.Epoch {
		k.broken("a cursor that was settled at %d should be there when it is acquired again, with a greater epoch than %d; got %+v", r.positions[0], r.lease.Epoch, again)
	}
	if r.lease.Now.IsZero() || again.Now.IsZero() {
		k.broken("a lease should say what the database's clock was; got %+v, then %+v", r.lease, again)
	}
}

func (r *relay) wantLost(lease outbox.Lease, s outbox.Settlement) {
	r.Helper()
	if err := r.log.Settle(r.Context(), lease, s); !errors.Is(err, outbox.ErrLeaseLost) {
		r.broken("Settle with the lease %+v should return ErrLeaseLost; got %v", lease, err)
	}
}

func staleLease(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "", "c")
	r.park()
	before := r.stats("relay")
	stale := r.lease
	r.lease = r.acquire("relay")
	r.wantLost(stale, outbox.Settlement{Position: r.positions[0]})
	r.wantLost(stale, outbox.Settlement{Hold: []outbox.Hold{r.hold(5, "c", outbox.Parked)}})
	r.wantLost(stale, outbox.Settlement{Release: []int64{r.positions[0]}})
	r.wantLost(stale, outbox.Settlement{})
	r.wantLost(outbox.Lease{Cursor: "relay", Epoch: r.lease.Epoch + 1}, outbox.Settlement{Position: r.positions[0]})
	r.wantLost(outbox.Lease{Cursor: "nobody", Epoch: 1}, outbox.Settlement{Position: r.positions[0]})
	r.wantHeld("after settlements with a stale lease", outbox.HeldFilter{}, 0, 1, 2, 3, 4)
	if after := r.stats("relay"); after.Position != before.Position {
		k.broken("the cursor should stay at %d; got %d", before.Position, after.Position)
	}
	if c := r.stats("nobody"); c.Cursor != "" {
		k.broken("Settle should not make a cursor; got %+v", c)
	}
	r.settle(outbox.Settlement{Release: []int64{r.positions[0]}})
	r.wantHeld("after a settlement with the newest lease", outbox.HeldFilter{}, 1, 2, 3, 4)
}

func droppedCursor(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "", "c")
	r.park()
	stale := r.lease
	k.must("Drop", r.log.Drop(k.Context(), "relay"))
	k.must("Drop of what is not there", r.log.Drop(k.Context(), "relay"))
	r.wantHeld("after Drop", outbox.HeldFilter{})
	r.wantLost(stale, outbox.Settlement{Position: r.positions[0]})
	r.lease = r.acquire("relay")
	if r.lease.Position != 0 {
		k.broken("a cursor that was dropped should begin at 0 again; got %+v", r.lease)
	}
	r.wantLost(stale, outbox.Settlement{Position: r.positions[0]})
	r.wantHeld("after Drop and Acquire", outbox.HeldFilter{})
}

func independentCursors(k *kit) {
	r := k.newRelay("relay", "a", "b")
	other := r.acquire("other")
	r.settle(outbox.Settlement{Position: r.positions[1]}) // still the newest lease of its cursor
	k.must("Settle", r.log.Settle(k.Context(), other, outbox.Settlement{Position: r.positions[0]}))
	for cursor, want := range map[string]int64{"relay": r.positions[1], "other": r.positions[0]} {
		if got := r.stats(cursor).Position; got != want {
			k.broken("the cursor %s should be at %d; got %d", cursor, want, got)
		}
	}
}

func stats(k *kit) {
	r := k.newRelay("relay")
	empty, err := r.log.Stats(k.Context())
	if err != nil || empty.End != 0 || empty.Messages != 0 || len(empty.Cursors) != 1 || !empty.Cursors[0].OldestAt.IsZero() {
		k.broken("an empty log with one cursor should have end 0, no messages, and nothing old; got %+v, %v", empty, err)
	}
	first := k.clock.Now()
	k.newRelay("relay", "a", "a", "b", "", "", "c")
	k.clock.advance(time.Hour)
	r = k.newRelay("relay", "d")
	full, err := r.log.Stats(k.Context())
	if err != nil || full.End != r.positions[6] || full.Messages != 7 {
		k.broken("a log with 7 messages should say so, and end at %d; got %+v, %v", r.positions[6], full, err)
	}
	r.wantCursor(outbox.CursorStats{Cursor: "relay", OldestAt: first})
	r.park()
	r.wantCursor(outbox.CursorStats{Cursor: "relay", Position: r.positions[6], Retrying: 2, Waiting: 1, Parked: 2, OldestAt: first})
	r.settle(outbox.Settlement{Position: r.positions[5], Release: r.positions[:5]})
	r.wantCursor(outbox.CursorStats{Cursor: "relay", Position: r.positions[5], OldestAt: first.Add(time.Hour)})
	r.settle(outbox.Settlement{Position: r.positions[6]})
	r.wantCursor(outbox.CursorStats{Cursor: "relay", Position: r.positions[6]})
}

func (r *relay) wantCursor(want outbox.CursorStats) {
	r.Helper()
	want.Epoch, want.Partitions = r.lease.Epoch, 1
	got := r.stats(want.Cursor)
	if !got.OldestAt.Equal(want.OldestAt) {
		r.broken("the oldest message not delivered should be of %s; got %s", want.OldestAt, got.OldestAt)
	}
	if len(got.Parts) != 1 || got.Parts[0].Position != want.Position || got.Parts[0].Epoch != want.Epoch {
		r.broken("the one partition of the cursor should be described with its position and epoch; got %+v", got.Parts)
	}
	got.OldestAt, want.OldestAt, got.Parts = time.Time{}, time.Time{}, nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.broken("the cursor should be described as %+v; got %+v", want, got)
	}
}

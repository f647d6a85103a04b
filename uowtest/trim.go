package uowtest

import (
	"time"

	"github.com/uow-go/uow/outbox"
)

func trimChecks() []Check {
	return []Check{
		{
			Name:  "Log_trim_keeps_what_is_not_delivered",
			Rule:  "Trim must never delete a message that some cursor has not passed, or that no cursor has looked at at all",
			needs: outboxNeeded,
			run:   trimKeepsUndelivered,
		}, {
			Name:  "Log_trim_keeps_what_is_held",
			Rule:  "Trim must never delete a message that some cursor holds",
			needs: outboxNeeded,
			run:   trimKeepsHeld,
		}, {
			Name:  "Log_trim_heeds_time_and_limit",
			Rule:  "of a small log Trim must delete only messages created before the time, at most limit of them, and say how many",
			needs: outboxNeeded,
			run:   trimHeedsTimeAndLimit,
		}, {
			Name:  "Log_positions_never_come_back",
			Rule:  "a position must never be given twice, also when all messages were trimmed",
			needs: outboxNeeded,
			run:   positionsNeverComeBack,
		},
	}
}

// wantTrim demands that a Trim of everything created up to now deletes so many
// messages, and that these are left.
func (r *relay) wantTrim(when string, limit, want int, left ...int) {
	r.Helper()
	n, err := r.log.Trim(r.Context(), r.clock.Now().Add(time.Microsecond), limit)
	if err != nil || n != want {
		r.broken("%s, Trim with limit %d should delete %d messages; got %d, %v", when, limit, want, n, err)
	}
	next := int64(0)
	if len(left) > 0 {
		next = r.positions[left[len(left)-1]]
	}
	r.wantScan(0, 100, nil, next, left...)
}

func trimKeepsUndelivered(k *kit) {
	r := k.newRelay("fast", "a", "b", "c", "d")
	k.must("Drop", r.log.Drop(k.Context(), "fast"))
	r.wantTrim("with no cursor", 100, 0, 0, 1, 2, 3)
	r.lease = r.acquire("fast")
	r.wantTrim("with a new cursor", 100, 0, 0, 1, 2, 3)
	slow := r.acquire("slow")
	r.settle(outbox.Settlement{Position: r.positions[3]})
	r.wantTrim("with one cursor at the end and one at the beginning", 100, 0, 0, 1, 2, 3)
	k.must("Settle", r.log.Settle(k.Context(), slow, outbox.Settlement{Position: r.positions[1]}))
	r.wantTrim("with one cursor at the end and one at the second message", 100, 2, 2, 3)
	k.must("Drop", r.log.Drop(k.Context(), "slow"))
	r.wantTrim("after the slow cursor was dropped", 100, 2)
}

func trimKeepsHeld(k *kit) {
	r := k.newRelay("relay", "a", "a", "b", "", "", "c")
	r.park()
	r.wantTrim("with five held messages, and the last delivered", 100, 1, 0, 1, 2, 3, 4)
	r.settle(outbox.Settlement{Release: []int64{r.positions[1], r.positions[3]}})
	r.wantTrim("after two of them were released", 100, 2, 0, 2, 4)
	r.wantHeld("after Trim", outbox.HeldFilter{}, 0, 2, 4)
	if _, err := r.log.Discard(k.Context(), "relay", []int64{r.positions[0], r.positions[4]}); err != nil {
		k.must("Discard", err)
	}
	r.wantTrim("after two of them were discarded", 100, 2, 2)
}

func trimHeedsTimeAndLimit(k *kit) {
	begin := k.clock.Now()
	k.newRelay("relay", "a", "b", "c")
	k.clock.advance(time.Hour)
	r := k.newRelay("relay", "d", "e")
	r.settle(outbox.Settlement{Position: r.positions[4]})
	n, err := r.log.Trim(k.Context(), begin, 100)
	k.wantCount("Trim of what was created before the first message", n, err, 0)
	r.wantScan(0, 100, nil, r.positions[4], 0, 1, 2, 3, 4)
	n, err = r.log.Trim(k.Context(), begin.Add(time.Minute), 2)
	k.wantCount("Trim with limit 2 of three messages that are old enough", n, err, 2)
	r.wantScan(0, 100, nil, r.positions[4], 2, 3, 4)
	n, err = r.log.Trim(k.Context(), begin.Add(time.Minute), 100)
	k.wantCount("Trim of the one message left that is old enough", n, err, 1)
	r.wantScan(0, 100, nil, r.positions[4], 3, 4)
}

func positionsNeverComeBack(k *kit) {
	r := k.newRelay("relay", "a", "b", "c")
	end := r.positions[2]
	r.settle(outbox.Settlement{Position: end})
	r.wantTrim("after all was delivered", 100, 3)
	stats, err := r.log.Stats(k.Context())
	if err != nil || stats.End != end || stats.Messages != 0 {
		k.broken("after all messages were trimmed the log should still end at %d, with none left; got %+v, %v", end, stats, err)
	}
	r.wantScan(end, 10, nil, end)
	r = k.newRelay("relay", "d")
	if len(r.positions) != 1 || r.positions[0] <= end {
		k.broken("the next message should have a position after %d; got %v", end, r.positions)
	}
}

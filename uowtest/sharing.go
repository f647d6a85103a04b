package uowtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uow-go/uow/outbox"
)

func sharingChecks() []Check {
	return []Check{
		{
			Name:  "Log_scan_of_a_share",
			Rule:  "Scan and Held with a Share must return exactly the messages whose partition, as outbox.Partition finds it, is in it",
			needs: outboxNeeded,
			run:   scanOfAShare,
		}, {
			Name:  "P21_a_lease_keeps_others_off",
			Rule:  "Acquire must return ErrLeaseHeld, having changed nothing, while another's lease stands, unless it has Force; the owner may acquire again",
			needs: outboxNeeded,
			run:   leaseKeepsOff,
		}, {
			Name:  "P21_a_lease_expires",
			Rule:  "a lease must keep nobody off after its TTL, must stand until somebody acquires, and must be extended by Settle",
			needs: outboxNeeded,
			run:   leaseExpires,
		}, {
			Name:  "P21_a_lease_is_released",
			Rule:  "Release must end a lease at once, but no newer one of somebody else",
			needs: outboxNeeded,
			run:   leaseIsReleased,
		}, {
			Name:  "Log_members",
			Rule:  "Join must return the members of the cursor that have joined and neither left nor expired, sorted",
			needs: outboxNeeded,
			run:   members,
		}, {
			Name:  "Log_stats_of_partitions",
			Rule:  "Stats must describe each partition of a cursor, in order, with its position, epoch, owner and lease, and the members that are there",
			needs: outboxNeeded,
			run:   statsOfPartitions,
		}, {
			Name:  "P21_partitions_are_independent",
			Rule:  "each partition must have its own position and leases, and hold for the cursor; another number of partitions must be refused by ErrPartitions",
			needs: outboxNeeded,
			run:   partitionsAreIndependent,
		}, {
			Name:  "P22_trim_heeds_every_partition",
			Rule:  "Trim must not delete what some partition has not passed, also one that nobody has acquired",
			needs: outboxNeeded,
			run:   trimHeedsPartitions,
		}, {
			Name:  "P21_repartition",
			Rule:  "Repartition must leave each message delivered, held or after the position, as it was, and no old lease that counts",
			needs: outboxNeeded,
			run:   repartition,
		}, {
			Name:  "P22_a_restored_log_is_noticed",
			Rule:  "Settle must return ErrRestored, having changed nothing, when the partition is not where its owner has left it, or the log is another one; and Acquire when the cursor is behind the end",
			needs: outboxNeeded,
			run:   restoredIsNoticed,
		},
	}
}

func (r *relay) claim(claim outbox.Claim) outbox.Lease {
	r.Helper()
	lease, err := r.log.Acquire(r.Context(), claim)
	r.must(fmt.Sprintf("Acquire of %+v", claim), err)
	return lease
}

func (r *relay) wantRefused(claim outbox.Claim, want error) {
	r.Helper()
	if lease, err := r.log.Acquire(r.Context(), claim); !errors.Is(err, want) {
		r.broken("Acquire of %+v should return %v; got %+v, %v", claim, want, lease, err)
	}
}

// keysOfAll are many keys, and messages without one.
func keysOfAll() []string {
	keys := []string{"", "", "", "", "ключ", "a'b\\c"}
	for i := range 20 {
		keys = append(keys, fmt.Sprint("key", i))
	}
	return keys
}

func scanOfAShare(k *kit) {
	r := k.newRelay("relay", keysOfAll()...)
	all := k.messages()
	var holds []outbox.Hold
	for i, m := range all {
		holds = append(holds, r.hold(i, m.Key, outbox.Parked))
	}
	r.settle(outbox.Settlement{Position: r.positions[len(all)-1], Hold: holds})
	const of = 3
	for _, share := range []outbox.Share{
		{}, {Of: 1, Partitions: []int{0}}, {Of: of, Partitions: []int{0}}, {Of: of, Partitions: []int{1}}, {Of: of, Partitions: []int{2, 0}},
		{Of: 1024, Partitions: []int{1023}},
	} {
		var want []string
		for _, m := range all {
			if share.Has(m.Key, m.ID) {
				want = append(want, m.ID)
			}
		}
		for _, topics := range [][]string{nil, {"topic", "other"}} {
			r.wantShare(share, topics, want)
		}
		held, err := r.log.Held(k.Context(), "relay", outbox.HeldFilter{Share: share})
		k.must("Held", err)
		k.wantIDs(fmt.Sprintf("Held of %+v", share), len(held), func(i int) string { return held[i].Message.ID }, want)
		some, err := r.log.Held(k.Context(), "relay", outbox.HeldFilter{Share: share, Limit: 2})
		k.must("Held", err)
		k.wantIDs(fmt.Sprintf("Held of 2 of %+v", share), len(some), func(i int) string { return some[i].Message.ID }, want[:min(2, len(want))])
	}
}

// wantShare demands that scans, a few messages at a time, come by these and no others,
// and reach the end.
func (r *relay) wantShare(share outbox.Share, topics []string, want []string) {
	r.Helper()
	var got []string
	after := int64(0)
	for {
		messages, next, err := r.log.Scan(r.Context(), outbox.Query{After: after, Limit: 3, Topics: topics, Share: share})
		r.must("Scan", err)
		if len(messages) > 3 || next < after || len(messages) > 0 && messages[len(messages)-1].Position > next {
			r.broken("Scan of 3 after %d should return so many at most, and how far it looked; got %d, and %d", after, len(messages), next)
		}
		for _, m := range messages {
			got = append(got, m.ID)
		}
		if next == after {
			break
		}
		after = next
	}
	r.wantIDs(fmt.Sprintf("Scan of %+v and topics %v", share, topics), len(got), func(i int) string { return got[i] }, want)
	if end := r.positions[len(r.positions)-1]; after != end {
		r.broken("Scan of %+v should look as far as the end, %d; got %d", share, end, after)
	}
}

func (k *kit) wantIDs(what string, n int, at func(i int) string, want []string) {
	k.Helper()
	got := make([]string, n)
	for i := range got {
		got[i] = at(i)
	}
	if !slices.Equal(got, want) {
		k.broken("%s should return %q; got %q", what, want, got)
	}
}

func leaseKeepsOff(k *kit) {
	r := k.newRelay("other", "a", "b")
	mine := outbox.Claim{Cursor: "relay", Owner: "me", TTL: time.Hour}
	theirs := outbox.Claim{Cursor: "relay", Owner: "they", TTL: time.Hour}
	r.lease = r.claim(mine)
	r.wantRefused(theirs, outbox.ErrLeaseHeld)
	r.settle(outbox.Settlement{Position: r.positions[0]}) // it still counts
	r.wantRefused(theirs, outbox.ErrLeaseHeld)
	stale := r.lease
	if r.lease = r.claim(mine); r.lease.Epoch <= stale.Epoch || r.lease.Position != r.positions[0] {
		k.broken("the owner should get a newer lease, at %d, than %+v; got %+v", r.positions[0], stale, r.lease)
	}
	r.wantLost(stale, outbox.Settlement{})
	r.wantRefused(theirs, outbox.ErrLeaseHeld)
	theirs.Force = true
	stale, r.lease = r.lease, r.claim(theirs)
	r.wantLost(stale, outbox.Settlement{Position: r.positions[1]})
	r.wantRefused(mine, outbox.ErrLeaseHeld)
	r.settle(outbox.Settlement{Position: r.positions[1]})
	k.must("Drop", r.log.Drop(k.Context(), "relay"))
	r.lease = r.claim(mine)
	r.wantLost(stale, outbox.Settlement{})
}

func leaseExpires(k *kit) {
	r := k.newRelay("other", "a", "b")
	short := outbox.Claim{Cursor: "relay", Owner: "me", TTL: time.Millisecond}
	theirs := outbox.Claim{Cursor: "relay", Owner: "they", TTL: time.Hour}
	first := r.claim(short)
	r.lease = first
	r.settle(outbox.Settlement{Position: r.positions[0]}) // whether or not it has expired
	var err error
	k.eventually("a lease of a millisecond should expire", func() bool {
		r.lease, err = r.log.Acquire(k.Context(), theirs)
		return !errors.Is(err, outbox.ErrLeaseHeld)
	})
	k.must("Acquire", err)
	r.wantLost(first, outbox.Settlement{Position: r.positions[1]})

	none := r.claim(outbox.Claim{Cursor: "relay", Owner: "they", Force: true})
	r.lease = r.claim(outbox.Claim{Cursor: "relay", Owner: "me"})
	r.wantLost(none, outbox.Settlement{}) // a TTL of 0 keeps nobody off
	r.lease.TTL = time.Hour
	r.settle(outbox.Settlement{})
	r.wantRefused(theirs, outbox.ErrLeaseHeld) // for the settlement has extended it
}

func leaseIsReleased(k *kit) {
	r := k.newRelay("other", "a", "b")
	mine := outbox.Claim{Cursor: "relay", Owner: "me", TTL: time.Hour}
	theirs := outbox.Claim{Cursor: "relay", Owner: "they", TTL: time.Hour}
	first := r.claim(mine)
	k.must("Release", r.log.Release(k.Context(), first))
	k.must("Release again", r.log.Release(k.Context(), first))
	r.lease = r.claim(theirs)
	k.must("Release of a stale lease", r.log.Release(k.Context(), first))
	r.wantRefused(mine, outbox.ErrLeaseHeld)
	k.must("Release of nothing", r.log.Release(k.Context(), outbox.Lease{Cursor: "nobody", Partitions: 1, Epoch: 1}))
}

func members(k *kit) {
	log := k.log()
	join := func(cursor, member string, ttl time.Duration, want ...string) {
		k.Helper()
		got, err := log.Join(k.Context(), cursor, member, ttl)
		k.must("Join", err)
		if !slices.Equal(got, want) {
			k.broken("Join of %s by %s for %v should return %q; got %q", cursor, member, ttl, want, got)
		}
	}
	join("relay", "b", time.Hour, "b")
	join("relay", "a", time.Hour, "a", "b")
	join("relay", "b", time.Hour, "a", "b")
	join("other", "c", time.Hour, "c")
	join("relay", "a", 0, "b")
	join("relay", "a", 0, "b")
	_, err := log.Join(k.Context(), "relay", "c", time.Millisecond)
	k.must("Join", err)
	k.eventually("a member of a millisecond should expire", func() bool {
		got, err := log.Join(k.Context(), "relay", "b", time.Hour)
		k.must("Join", err)
		return slices.Equal(got, []string{"b"})
	})
	k.must("Drop", log.Drop(k.Context(), "relay"))
	join("relay", "d", time.Hour, "d")
}

func statsOfPartitions(k *kit) {
	r := k.newRelay("other", "a", "b")
	const partitions = 12
	lease := r.claim(outbox.Claim{Cursor: "relay", Partition: 10, Partitions: partitions, Owner: "me", TTL: time.Hour})
	k.must("Settle", r.log.Settle(k.Context(), lease, outbox.Settlement{Position: r.positions[1]}))
	for _, member := range []string{"me", "him"} {
		_, err := r.log.Join(k.Context(), "relay", member, time.Hour)
		k.must("Join", err)
	}
	_, err := r.log.Join(k.Context(), "relay", "gone", 0)
	k.must("Join", err)
	got := r.stats("relay")
	if len(got.Parts) != partitions || got.Partitions != partitions {
		k.broken("a cursor with %d partitions should be described with all; got %+v", partitions, got)
		return
	}
	for i, p := range got.Parts {
		want := outbox.PartStats{Partition: i, ExpiresAt: p.ExpiresAt}
		if i == lease.Partition {
			want.Position, want.Epoch, want.Owner = r.positions[1], lease.Epoch, "me"
		}
		if p != want || p.ExpiresAt.IsZero() != (want.Owner == "") {
			k.broken("partition %d should be described as %+v, with the time of its lease if it has one; got %+v", i, want, p)
		}
	}
	if left := time.Until(got.Parts[lease.Partition].ExpiresAt); left < 30*time.Minute || left > 90*time.Minute {
		k.broken("the lease of an hour should end in an hour; got %v", left)
	}
	if !slices.Equal(got.Members, []string{"him", "me"}) {
		k.broken("the cursor should have the members that have not expired, sorted; got %q", got.Members)
	}
	k.must("Release", r.log.Release(k.Context(), lease))
	if p := r.stats("relay").Parts[lease.Partition]; p.ExpiresAt.After(time.Now()) {
		k.broken("a lease that was released should not stand; got %+v", p)
	}
	if other := r.stats("other"); len(other.Members) > 0 || len(other.Parts) != 1 {
		k.broken("another cursor should have its own; got %+v", other)
	}
}

func partitionsAreIndependent(k *kit) {
	r := k.newRelay("single", "a", "b", "c", "d")
	claim := outbox.Claim{Cursor: "relay", Partitions: 2, Owner: "me", TTL: time.Hour}
	zero := r.claim(claim)
	claim.Partition, claim.Owner = 1, "they"
	one := r.claim(claim)
	if zero.Position != 0 || one.Position != 0 || zero.Of().Whole() || one.Partition != 1 {
		k.broken("new partitions should be at 0; got %+v and %+v", zero, one)
	}
	for _, wrong := range []outbox.Claim{
		{Cursor: "relay", Force: true}, {Cursor: "relay", Partitions: 3, Force: true}, {Cursor: "single", Partitions: 2, Force: true},
	} {
		r.wantRefused(wrong, outbox.ErrPartitions)
	}
	for _, wrong := range []outbox.Claim{
		{}, {Cursor: "relay", Partition: 2, Partitions: 2}, {Cursor: "relay[0/2]"}, {Cursor: "relay", Partition: -1}, {Cursor: "r", Partitions: 1025},
	} {
		if _, err := r.log.Acquire(k.Context(), wrong); err == nil {
			k.broken("Acquire of %+v should fail; got nil", wrong)
		}
	}
	r.lease = one
	r.settle(outbox.Settlement{Position: r.positions[3], Hold: []outbox.Hold{r.hold(1, "b", outbox.Parked)}})
	r.lease = zero
	r.settle(outbox.Settlement{Position: r.positions[1], From: 0})
	// A message behind this partition is not held by it, one before it is, whatever the
	// other partition has passed.
	r.settle(outbox.Settlement{Hold: []outbox.Hold{r.hold(0, "a", outbox.Parked), r.hold(2, "c", outbox.Parked)}})
	r.wantHeld("in both partitions", outbox.HeldFilter{}, 1, 2)
	n, err := r.log.Redrive(k.Context(), "relay", r.positions)
	k.wantCount("Redrive of what both partitions hold", n, err, 2)
	got := r.stats("relay")
	want := outbox.CursorStats{Cursor: "relay", Partitions: 2, Position: r.positions[1], Epoch: max(zero.Epoch, one.Epoch), Retrying: 2}
	got.OldestAt, got.Parts = time.Time{}, nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		k.broken("a cursor with two partitions should be described as %+v; got %+v", want, got)
	}
	claim.Force = true
	r.lease = r.claim(claim)
	if r.lease.Position != r.positions[3] {
		k.broken("partition 1 should be at %d; got %+v", r.positions[3], r.lease)
	}
	r.wantLost(one, outbox.Settlement{})
	k.must("Settle of the other partition", r.log.Settle(k.Context(), zero, outbox.Settlement{}))
	k.must("Drop", r.log.Drop(k.Context(), "relay"))
	r.wantLost(zero, outbox.Settlement{})
	r.wantHeld("after Drop", outbox.HeldFilter{})
	if c := r.stats("relay"); c.Cursor != "" {
		k.broken("a cursor that was dropped should be gone with its partitions; got %+v", c)
	}
	r.lease = r.claim(outbox.Claim{Cursor: "relay", Owner: "me", TTL: time.Hour}) // with one partition
}

func trimHeedsPartitions(k *kit) {
	r := k.newRelay("relay", "a", "b", "c")
	k.must("Drop", r.log.Drop(k.Context(), "relay"))
	claim := outbox.Claim{Cursor: "relay", Partitions: 2, Owner: "me", TTL: time.Hour}
	r.lease = r.claim(claim)
	r.settle(outbox.Settlement{Position: r.positions[2]})
	r.wantTrim("with a partition that nobody has acquired", 100, 0, 0, 1, 2)
	claim.Partition = 1
	r.lease = r.claim(claim)
	r.settle(outbox.Settlement{Position: r.positions[1]})
	r.wantTrim("with a partition at the end and one before the last message", 100, 2, 2)
}

func repartition(k *kit) {
	r := k.newRelay("relay", keysOfAll()...)
	all := k.messages()
	k.must("Drop", r.log.Drop(k.Context(), "relay"))
	split := func(n int) {
		k.Helper()
		k.must("Repartition", outbox.Repartition{Cursor: "relay", Partitions: n}.Run(k.Context(), r.log))
	}
	split(3) // makes it
	claim := outbox.Claim{Cursor: "relay", Partitions: 3, Owner: "me", TTL: time.Hour}
	claim.Partition = 1
	r.lease = r.claim(claim)
	furthest := len(all) - 2
	r.settle(outbox.Settlement{Position: r.positions[furthest]})
	old := r.lease
	// What is after its position in the other two is as good as met now, and not
	// delivered.
	var behind []int
	for i, m := range all[:furthest+1] {
		if outbox.Partition(m.Key, m.ID, 3) != 1 {
			behind = append(behind, i)
		}
	}
	for _, n := range []int{1, 1, 4, 2, 1} {
		split(n)
		r.wantLost(old, outbox.Settlement{Position: r.positions[furthest+1]})
		r.wantHeld(fmt.Sprintf("with %d partitions", n), outbox.HeldFilter{}, behind...)
		for i := range n {
			old = r.claim(outbox.Claim{Cursor: "relay", Partition: i, Partitions: n, Owner: "me", TTL: time.Hour})
			if old.Position != r.positions[furthest] {
				k.broken("each of %d partitions should be at %d; got %+v", n, r.positions[furthest], old)
			}
		}
	}
	k.clock.advance(time.Hour)
	var due []string
	held, err := r.log.Held(k.Context(), "relay", outbox.HeldFilter{})
	k.must("Held", err)
	seen := map[string]bool{}
	for _, h := range held {
		want := outbox.Waiting
		if h.Key == "" {
			want = outbox.Retrying
		}
		if h.State != want || h.Attempts != 0 || h.Since.IsZero() {
			k.broken("what was held by Repartition should be %s, without attempts; got %+v", want, h.Hold)
		}
		if h.Key == "" || !seen[h.Key] {
			due = append(due, h.Message.ID)
		}
		seen[h.Key] = true
	}
	if len(due) != len(behind) {
		k.broken("of %d messages with keys of their own, or none, all should be due; got %d", len(behind), len(due))
	}
}

func restoredIsNoticed(k *kit) {
	r := k.newRelay("relay", "a", "b", "c")
	wantRestored := func(when string, lease outbox.Lease, s outbox.Settlement) {
		k.Helper()
		if err := r.log.Settle(k.Context(), lease, s); !errors.Is(err, outbox.ErrRestored) || errors.Is(err, outbox.ErrLeaseLost) {
			k.broken("%s, Settle should return ErrRestored; got %v", when, err)
		}
	}
	p := r.positions
	wantRestored("where the partition is at the beginning, and was left behind it", r.lease, outbox.Settlement{From: p[1]})
	for range 2 { // a relay repeats what it got no answer to
		r.settle(outbox.Settlement{From: outbox.Beginning, Position: p[0]})
	}
	r.settle(outbox.Settlement{From: p[0], Position: p[1]})
	wantRestored("where the partition has gone on since, and a settlement comes late", r.lease, outbox.Settlement{From: outbox.Beginning, Position: p[0]})
	for range 2 { // a relay repeats what it got no answer to
		r.settle(outbox.Settlement{From: p[1], Position: p[2]})
	}
	r.settle(outbox.Settlement{From: p[2]})
	r.settle(outbox.Settlement{Position: p[0]}) // as if it was restored from a backup
	wantRestored("where the partition is before the place where it was left", r.lease, outbox.Settlement{From: p[2], Hold: []outbox.Hold{r.hold(2, "c", outbox.Parked)}})
	wantRestored("where the partition is before the place where it was left", r.lease, outbox.Settlement{From: p[1], Position: p[2]})
	other := r.lease
	other.Log += "x"
	wantRestored("where the lease is of another log", other, outbox.Settlement{Position: p[2]})
	r.wantHeld("after settlements that were refused", outbox.HeldFilter{})
	if got := r.stats("relay").Position; got != p[0] {
		k.broken("settlements that are refused should leave the cursor at %d; got %d", p[0], got)
	}
	stats, err := r.log.Stats(k.Context())
	if err != nil || stats.Log == "" || stats.Log != r.lease.Log || r.acquire("other").Log != stats.Log {
		k.broken("all leases, and Stats, should name the same log; got %+v, %v, and %+v", r.lease, err, stats)
	}
	r.lease = r.acquire("relay")
	r.settle(outbox.Settlement{Position: p[2] + 1000}) // as if the log was restored, and not the cursor
	r.wantRefused(outbox.Claim{Cursor: "relay", Force: true}, outbox.ErrRestored)
}

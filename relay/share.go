package relay

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// shareOf returns the partitions that are a member's share. All members that know of
// the same ones find the same: each partition is one member's, no member has two more
// than another, and few move when a member comes or goes. It is rendezvous hashing
// (Thaler and Ravishankar, 1998) with places: a partition goes to the member that is
// first in an order of its own and has a place left.
func shareOf(me string, members []string, partitions int) map[int]bool {
	mine := map[int]bool{}
	if !slices.Contains(members, me) {
		return mine
	}
	places := placesOf(members, partitions)
	for partition := range partitions {
		best, weight := "", [sha256.Size]byte{}
		for _, member := range members {
			w := weightOf(member, uint32(partition))
			if places[member] > 0 && (best == "" || bytes.Compare(w[:], weight[:]) > 0) {
				best, weight = member, w
			}
		}
		places[best]--
		if best == me {
			mine[partition] = true
		}
	}
	return mine
}

// placesOf returns how many partitions each member has.
func placesOf(members []string, partitions int) map[string]int {
	order := slices.SortedFunc(slices.Values(members), func(a, b string) int {
		x, y := weightOf(a, placesSalt), weightOf(b, placesSalt)
		return cmp.Or(bytes.Compare(x[:], y[:]), strings.Compare(a, b))
	})
	places := make(map[string]int, len(order))
	for i, member := range order {
		places[member] = partitions / len(order)
		if i < partitions%len(order) {
			places[member]++
		}
	}
	return places
}

// placesSalt is no partition.
const placesSalt = 1 << 31

func weightOf(member string, n uint32) [sha256.Size]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint32([]byte(member), n))
}

package relay

import (
	"fmt"
	"slices"
	"testing"
)

// Whoever is there, and in whatever order they are listed, each partition is one
// member's, and the shares differ by one at most.
func TestSharesAreFairAndTheSameForAll(t *testing.T) {
	for n := 1; n <= 9; n++ {
		members := make([]string, n)
		for i := range members {
			members[i] = fmt.Sprint("member", i*i)
		}
		for _, partitions := range []int{1, 2, 7, 16, 64} {
			owners := ownersOf(t, members, partitions)
			slices.Reverse(members)
			if again := ownersOf(t, members, partitions); !slices.Equal(owners, again) {
				t.Errorf("%d partitions of %d members depend on the order of the members: %v and %v", partitions, n, owners, again)
			}
		}
	}
}

// ownersOf returns each partition's member.
func ownersOf(t *testing.T, members []string, partitions int) []string {
	t.Helper()
	owners := make([]string, partitions)
	for _, m := range members {
		mine := shareOf(m, members, partitions)
		if len(mine) < partitions/len(members) || len(mine) > (partitions+len(members)-1)/len(members) {
			t.Errorf("of %d partitions one of %d members has %d", partitions, len(members), len(mine))
		}
		for p := range mine {
			if owners[p] != "" {
				t.Errorf("partition %d of %d is both %s's and %s's", p, partitions, owners[p], m)
			}
			owners[p] = m
		}
	}
	if slices.Contains(owners, "") {
		t.Errorf("of %d partitions and %d members some are nobody's: %v", partitions, len(members), owners)
	}
	return owners
}

// A member that comes moves about its share, and one that is gone moves only few of the
// others'.
func TestSharesMoveLittle(t *testing.T) {
	members, moved, least := []string{"a", "b", "c", "d"}, 0, 0
	const partitions, rounds = 64, 50
	for i := range rounds {
		more := append(slices.Clone(members), fmt.Sprint("new", i))
		before, after := ownersOf(t, members, partitions), ownersOf(t, more, partitions)
		for p := range before {
			if before[p] != after[p] {
				moved++
			}
		}
		least += partitions / len(more)
	}
	if moved > 2*least {
		t.Errorf("%d partitions moved in %d rounds, of which %d had to", moved, rounds, least)
	}
	if got := shareOf("stranger", members, partitions); len(got) > 0 {
		t.Errorf("who is no member has the partitions %v", got)
	}
}

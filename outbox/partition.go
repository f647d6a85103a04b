package outbox

import (
	"crypto/sha256"
	"regexp"
	"slices"
	"strconv"
	"sync"
)

// MaxPartitions is the greatest number of partitions that a cursor can have.
const MaxPartitions = 1024

// Share is a part of the messages: those in some of the partitions. Its zero value is
// all of them.
type Share struct {
	// Of is how many partitions there are; 0 means that nothing is left out.
	Of int
	// Partitions are those that count.
	Partitions []int
}

// Whole reports whether nothing is left out.
func (s Share) Whole() bool { return s.Of <= 1 }

// Has reports whether a message is in the share.
func (s Share) Has(key, id string) bool {
	return s.Whole() || slices.Contains(s.Partitions, Partition(key, id, s.Of))
}

// Partition returns the partition, of so many, that a message belongs to: by its
// ordering key, or by its id when it has no key. It is the number in the first three
// bytes of the SHA-256 of the text, modulo the number of partitions, which databases
// can work out too; it never changes.
func Partition(key, id string, of int) int {
	if of <= 1 {
		return 0
	}
	if key == "" {
		key = id
	}
	sum := sha256.Sum256([]byte(key))
	return (int(sum[0])<<16 | int(sum[1])<<8 | int(sum[2])) % of
}

// PartitionRow returns the name under which stores keep the position of a partition:
// the cursor's own where it is the only one, and otherwise one as orders[2/8].
func PartitionRow(cursor string, partition, of int) string {
	if of <= 1 {
		return cursor
	}
	return cursor + "[" + strconv.Itoa(partition) + "/" + strconv.Itoa(of) + "]"
}

// rowPattern is compiled once.
var rowPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?s)^(.+)\[(\d{1,4})/(\d{1,4})\]$`) })

// IsPartitionRow reports whether a name is one that PartitionRow gives to a partition
// of several, and so none for a cursor.
func IsPartitionRow(name string) bool { return rowPattern().MatchString(name) }

// ParseRow is the inverse of PartitionRow.
func ParseRow(name string) (cursor string, partition, of int) {
	found := rowPattern().FindStringSubmatch(name)
	if found == nil {
		return name, 0, 1
	}
	partition, _ = strconv.Atoi(found[2])
	of, _ = strconv.Atoi(found[3])
	return found[1], partition, of
}

package metrics

import (
	"hash/fnv"
	"time"

	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

// Slot returns the newest slot of a group at or before t. The slots of a group
// are one interval apart, on a grid that depends on its file and name only, so
// that every process and every start finds the same ones, and groups do not all
// run at once.
func Slot(group config.RuleGroup, t time.Time) time.Time {
	h := fnv.New64a()
	_, _ = h.Write([]byte(group.File + "\x00" + group.Name))
	interval := int64(group.Interval)
	offset := int64(h.Sum64() % uint64(interval))
	since := (t.UnixNano() - offset) % interval
	if since < 0 {
		since += interval
	}
	return time.Unix(0, t.UnixNano()-since).UTC()
}

// NextSlot returns the first slot of a group after t.
func NextSlot(group config.RuleGroup, t time.Time) time.Time {
	return Slot(group, t).Add(group.Interval)
}

package relay

import (
	"container/heap"
	"slices"
	"time"

	"github.com/uow-go/uow/outbox"
)

// slot is what is held together: an ordering key, or one message without a key.
type slot struct {
	key      string
	position int64 // only where key is empty
}

func slotOf(key string, position int64) slot {
	if key != "" {
		return slot{key: key}
	}
	return slot{position: position}
}

func slotOfMessage(m *outbox.Message) slot { return slotOf(m.Key, m.Position) }

// entry is what the relay knows about a slot that is held.
type entry struct {
	slot  slot
	phase phase
	// due is when the first message may be tried again, in phase retrying.
	due time.Time
	// more is whether the log may hold messages of the slot besides those that
	// are being published, or besides the first.
	more bool
	// first is the position of the first, as far as the relay knows: of the one that it
	// has held itself.
	first int64
	index int // in the heap, in phase retrying
}

// phase is what a slot waits for.
type phase uint8

const (
	retrying   phase = iota // for its time; in the heap
	continuing              // for its turn; in the queue, its messages yet to be fetched
	flying                  // for the publisher
	parked                  // for an operator
)

// heldSet is what the relay knows about held messages: enough to know which keys
// must not be published, and which messages are due. The log has the rest, and is
// right where both differ: an operator may have changed it.
type heldSet struct {
	entries map[slot]*entry
	byDue   dueHeap
	queue   []*entry
	// flying counts the messages, not the slots, that are being published.
	flying int
}

func newHeldSet() *heldSet { return &heldSet{entries: make(map[slot]*entry)} }

func (h *heldSet) get(s slot) *entry { return h.entries[s] }

// set puts a slot into a phase, and adds it if need be.
func (h *heldSet) set(s slot, p phase, due time.Time) *entry {
	e := h.entries[s]
	if e == nil {
		e = &entry{slot: s}
		h.entries[s] = e
	} else {
		h.leavePhase(e)
	}
	e.phase, e.due = p, due
	switch p {
	case retrying:
		heap.Push(&h.byDue, e)
	case continuing:
		h.queue = append(h.queue, e)
	}
	return e
}

// remove forgets a slot: the log holds nothing of it.
func (h *heldSet) remove(e *entry) {
	h.leavePhase(e)
	delete(h.entries, e.slot)
}

func (h *heldSet) leavePhase(e *entry) {
	switch e.phase {
	case retrying:
		heap.Remove(&h.byDue, e.index)
	case continuing:
		if h.queue[0] == e { // nearly always
			h.queue[0], h.queue = nil, h.queue[1:]
			return
		}
		h.queue = slices.DeleteFunc(h.queue, func(other *entry) bool { return other == e })
	}
}

// nextDue returns when the next slot wants to be published, if one does.
func (h *heldSet) nextDue(now time.Time) (time.Time, bool) {
	if len(h.queue) > 0 {
		return now, true
	}
	if len(h.byDue) > 0 {
		return h.byDue[0].due, true
	}
	return time.Time{}, false
}

// due returns a slot whose time has come.
func (h *heldSet) due(now time.Time) *entry {
	if len(h.byDue) > 0 && !h.byDue[0].due.After(now) {
		return h.byDue[0]
	}
	return nil
}

// dueHeap is a heap.Interface of entries in phase retrying.
type dueHeap []*entry

func (d dueHeap) Len() int           { return len(d) }
func (d dueHeap) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d dueHeap) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}

// Push implements heap.Interface.
func (d *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*d)
	*d = append(*d, e)
}

// Pop implements heap.Interface.
func (d *dueHeap) Pop() any {
	old := *d
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	return e
}

package outbox

import (
	"bytes"
	"maps"
	"sync"
	"time"
	"unicode/utf8"
)

// Recent are the newest messages that this process has appended, which a store keeps in
// memory to answer a Query that has Recent: what was committed just now need not be read
// back from the database. Its zero value is empty. It may be used from many goroutines.
//
// It answers without knowing what others append, and misses nothing nevertheless: what it
// returns follows the query's position without a gap, so that nothing can lie between,
// and all of it was committed.
type Recent struct {
	mu   sync.Mutex
	ring []*recentMessage // each at its position modulo the length
	// newest is the greatest position that was added, whether it was kept or not.
	newest int64
	bytes  int
}

type recentMessage struct {
	message Message
	addedAt time.Time
}

// The bounds of what is kept: how many messages, of how many bytes together, and for how
// long. What is older is read from the log, so that a restored database is not answered
// for by what it had before.
const (
	maxRecent      = 4096
	maxRecentBytes = 4 << 20
	maxRecentAge   = time.Second
)

// Add keeps copies of messages as they were committed, with their positions. The store
// calls it when they are on the disk, and before it wakes those who subscribed.
func (r *Recent) Add(messages []Message) {
	now := time.Now()
	added := make([]recentMessage, len(messages))
	for i := range messages {
		m := &added[i].message
		*m = copyOf(&messages[i])
		m.CreatedAt = time.UnixMicro(m.CreatedAt.UnixMicro()).UTC()
		m.Write, m.At = 0, time.Time{}
		added[i].addedAt = now
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range added {
		r.keep(&added[i])
	}
}

// keep puts a message in its place, with mu held.
func (r *Recent) keep(added *recentMessage) {
	m := &added.message
	r.newest = max(r.newest, m.Position)
	size := messageSize(m)
	if m.Position <= r.newest-maxRecent || size > maxRecentBytes || !plain(m) {
		return
	}
	if r.bytes+size > maxRecentBytes {
		clear(r.ring)
		r.bytes = 0
	}
	if r.ring == nil {
		r.ring = make([]*recentMessage, maxRecent)
	}
	place := &r.ring[m.Position%maxRecent]
	if *place != nil {
		r.bytes -= messageSize(&(*place).message)
	}
	*place = added
	r.bytes += size
}

// messageSize is about what a message takes.
func messageSize(m *Message) int {
	const fixed = 512
	return fixed + len(m.Payload) + len(m.Key) + len(m.Type) + len(m.Topic) + len(m.AggregateID)
}

// plain reports whether a store returns a message's headers as it was given them:
// encodings replace what is no UTF-8.
func plain(m *Message) bool {
	for name, value := range m.Headers {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return false
		}
	}
	return true
}

// Scan answers a query as Log.Scan does. It returns false where only the log can answer:
// when it can't return everything up to the newest message, or as many as are wanted.
func (r *Recent) Scan(q Query) (messages []Message, next int64, ok bool) {
	if !q.Recent || q.Limit <= 0 || q.After < 0 {
		return nil, q.After, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.After > r.newest || r.newest == 0 {
		return nil, q.After, false
	}
	since := time.Now().Add(-maxRecentAge)
	for next = q.After; len(messages) < q.Limit && next < r.newest; {
		kept := r.at(next + 1)
		if kept == nil || kept.addedAt.Before(since) {
			return nil, q.After, false
		}
		next++
		if q.wants(&kept.message) {
			messages = append(messages, copyOf(&kept.message))
		}
	}
	return messages, next, true
}

// copyOf returns a message of which a reader may change everything.
func copyOf(m *Message) Message {
	c := *m
	c.Payload, c.Headers = bytes.Clone(m.Payload), maps.Clone(m.Headers)
	return c
}

// at returns the message at a position, if it is kept.
func (r *Recent) at(position int64) *recentMessage {
	if len(r.ring) == 0 {
		return nil
	}
	if kept := r.ring[position%maxRecent]; kept != nil && kept.message.Position == position {
		return kept
	}
	return nil
}

package relay

import (
	"hash/maphash"
	"math/bits"
	"strings"
	"time"

	"github.com/uow-go/uow/outbox"
)

// Disorder is a message that is not the next of its stream in the log.
type Disorder struct {
	Message outbox.Message
	// Last is how far the stream was before: the greatest sequence that the relay had
	// met of it.
	Last int64
}

// Late reports whether the stream was as far as the message already, or further. Else
// there is a gap before it.
func (d Disorder) Late() bool { return d.Message.Sequence <= d.Last }

// Missing returns how many messages are missing of the stream before the message: those
// from Last+1 on. It is 0 of a message that is late.
func (d Disorder) Missing() int64 { return max(d.Message.Sequence-d.Last-1, 0) }

// isEvent reports whether a message is the event of an aggregate. All events of one have
// the same topic and key, so that a relay which has only some partitions, or topics, meets
// all of a stream or nothing. What else has a sequence was appended by hand, and was
// numbered by whoever did that.
func isEvent(m *outbox.Message) bool {
	if m.Sequence <= 0 {
		return false
	}
	collection, id, ok := strings.Cut(m.Key, "/")
	return ok && m.Topic == collection && m.AggregateType == collection && m.AggregateID == id
}

// streams remembers how far the streams are whose messages a partition has passed lately.
// It is a cache of a fixed size, in sets as those of a processor: a stream that was not met
// for long makes room for another one, and is a new one when it is met again.
type streams struct {
	seed maphash.Seed
	sets [][streamsInSet]stream
	// quietUntil is when the next disorder may be logged, and unsaid counts those since the
	// last that was.
	quietUntil time.Time
	unsaid     int
}

// stream is how far a stream is. It is known by the hash of its key alone: that it is
// taken for another one that is remembered has less than one chance in 2^50.
type stream struct {
	hash uint64
	last int64
}

const (
	streamsInSet = 8
	// maxStreams is how many streams a partition remembers, where it is one of a few, and
	// allStreams how many all partitions do together: a megabyte.
	maxStreams = 4096
	allStreams = 65536
)

func newStreams(partitions int) *streams {
	n := min(maxStreams, allStreams/partitions) / streamsInSet
	return &streams{seed: maphash.MakeSeed(), sets: make([][streamsInSet]stream, n)}
}

// pass notes that an event was passed, and returns how far its stream was before; 0 where
// that is not known.
func (t *streams) pass(m *outbox.Message) (last int64) {
	hash := maphash.String(t.seed, m.Key)
	which, _ := bits.Mul64(hash, uint64(len(t.sets)))
	set := &t.sets[which]
	at := 0 // where the stream is, or the one that makes room for it: the first was met last
	for at < len(set)-1 && set[at].hash != hash {
		at++
	}
	if set[at].hash == hash {
		last = set[at].last
	}
	copy(set[1:at+1], set[:at])
	set[0] = stream{hash: hash, last: m.Sequence}
	if m.Sequence > 1 {
		set[0].last = max(last, m.Sequence)
	}
	return last
}

// disordered notes that a message was passed, and reports whether it is not the next of
// its stream, and how far that was. A stream that is not known begins anywhere, and any
// stream may begin again: ids of a disposable collection that are used again do.
func (t *streams) disordered(m *outbox.Message) (last int64, yes bool) {
	if !isEvent(m) {
		return 0, false
	}
	last = t.pass(m)
	return last, last > 0 && m.Sequence > 1 && m.Sequence != last+1
}

// logDisorderEach is how often a partition logs a disorder at most: where one is, there
// are many, and the observer is told of each.
const logDisorderEach = time.Minute

// passStreams looks whether messages are the next of their streams. They have just been
// settled: so each is looked at once, in order, however often it was read, and the lease
// stood, so that nobody has passed and trimmed what was before them.
func (s *session) passStreams(passed []outbox.Message) {
	for i := range passed {
		last, disordered := s.streams.disordered(&passed[i])
		if !disordered {
			continue
		}
		d := Disorder{Message: passed[i], Last: last}
		s.cfg.Observer.Disordered(d)
		s.warnOfDisorder(d)
	}
}

func (s *session) warnOfDisorder(d Disorder) {
	now := s.cfg.Now()
	if now.Before(s.streams.quietUntil) {
		s.streams.unsaid++
		return
	}
	s.cfg.Logger.Warn("relay: a message is not the next of its stream",
		"cursor", s.cfg.Cursor, "partition", s.lease.Partition, "position", d.Message.Position, "id", d.Message.ID,
		"stream", d.Message.Key, "sequence", d.Message.Sequence, "last", d.Last, "late", d.Late(), "missing", d.Missing(),
		"others", s.streams.unsaid)
	s.streams.quietUntil, s.streams.unsaid = now.Add(logDisorderEach), 0
}

package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/uow-go/uow/consumer"
)

// errLost is why a record can't be acknowledged any more.
var errLost = errors.New("kafka: the partition has gone to another consumer")

// assignment is a partition, for as long as it is this consumer's. A group remembers one
// offset for each partition, so what has been handled is committed up to the first record
// that has not.
type assignment struct {
	session context.Context // ends when nothing new may begin
	end     context.CancelFunc

	mu      sync.Mutex
	flying  []*flight // in the order of their offsets
	paused  bool      // too many are flying
	lost    bool      // nothing may be committed
	changed chan struct{}
	held    int
}

// flight is a record that was received, and that is not done or has one before it that is
// not.
type flight struct {
	of     *assignment
	at     place
	offset kgo.EpochOffset // behind it
	record *kgo.Record     // nil when it is done
}

// offsets is what an assignment needs of a client.
type offsets interface {
	mark(at place, offset kgo.EpochOffset)
	pause(at place)
	resume(at place)
}

func newAssignment() *assignment {
	a := &assignment{changed: make(chan struct{}, 1)}
	a.session, a.end = context.WithCancel(context.Background())
	return a
}

// delivery makes one of the next record. When so many are flying, no more are received
// until there are half as many.
func (a *assignment) delivery(record *kgo.Record, most int, client offsets) *consumer.Delivery {
	f := &flight{
		of: a, record: record, at: place{record.Topic, record.Partition},
		offset: kgo.EpochOffset{Epoch: record.LeaderEpoch, Offset: record.Offset + 1},
	}
	a.mu.Lock()
	a.flying = append(a.flying, f)
	a.held++
	if len(a.flying) >= most && !a.paused {
		a.paused = true
		client.pause(f.at)
	}
	a.mu.Unlock()
	d := &consumer.Delivery{Session: a.session, Token: f, Released: a.released}
	d.Message, d.Malformed = decode(record)
	return d
}

func (a *assignment) released() {
	a.mu.Lock()
	a.held--
	a.mu.Unlock()
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// acknowledge notes that a record is done, and marks what may be committed.
func (f *flight) acknowledge(most int, client offsets) error {
	a := f.of
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost {
		return errLost
	}
	f.record = nil
	var last *flight
	for len(a.flying) > 0 && a.flying[0].record == nil {
		last, a.flying = a.flying[0], a.flying[1:]
	}
	if last == nil {
		return nil
	}
	client.mark(last.at, last.offset)
	if a.paused && len(a.flying) <= most/2 {
		a.paused = false
		client.resume(f.at)
	}
	return nil
}

// drain has nothing new begin, and waits for what is being handled.
func (a *assignment) drain(ctx context.Context) {
	a.end()
	for {
		a.mu.Lock()
		held := a.held
		a.mu.Unlock()
		if held == 0 {
			return
		}
		select {
		case <-a.changed:
		case <-ctx.Done():
			return
		}
	}
}

// lose has nothing committed any more.
func (a *assignment) lose() {
	a.end()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lost = true
}

// place names a partition.
type place struct {
	topic     string
	partition int32
}

// assignments are those of one client.
type assignments struct {
	drainFor time.Duration

	mu      sync.Mutex
	all     map[place]*assignment
	leaving bool // nothing is waited for
}

func (s *assignments) find(r *kgo.Record) *assignment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[place{r.Topic, r.Partition}]
}

// onAssigned, onRevoked and onLost are what the client calls.

func (s *assignments) onAssigned(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, numbers := range partitions {
		for _, n := range numbers {
			s.all[place{topic, n}] = newAssignment()
		}
	}
}

// onRevoked commits what is handled in time. The next consumer begins behind that.
func (s *assignments) onRevoked(ctx context.Context, client *kgo.Client, partitions map[string][]int32) {
	ctx, cancel := context.WithTimeout(ctx, s.drainFor)
	defer cancel()
	gone := s.take(partitions)
	for _, a := range gone {
		a.end()
	}
	for _, a := range gone {
		if !s.isLeaving() {
			a.drain(ctx)
		}
	}
	_ = client.CommitMarkedOffsets(ctx) // else it comes again
	for _, a := range gone {
		a.lose()
	}
}

func (s *assignments) onLost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	for _, a := range s.take(partitions) {
		a.lose()
	}
}

func (s *assignments) take(partitions map[string][]int32) (gone []*assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, numbers := range partitions {
		for _, n := range numbers {
			if a := s.all[place{topic, n}]; a != nil {
				gone = append(gone, a)
				delete(s.all, place{topic, n})
			}
		}
	}
	return gone
}

func (s *assignments) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
}

func (s *assignments) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

// Package sharedread lets units whose first reads come at once make them together, in one
// round trip and one snapshot, which they share. Stores of servers share it; how rows are
// read, and how a unit reads on in its snapshot, is theirs.
package sharedread

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/unitcontext"
)

// ErrEnded is returned by Snapshot.Use when the queue has been closed.
var ErrEnded = errors.New("sharedread: the snapshot has ended")

// Source is a store. T stands for its collections, and C is a connection.
type Source[T comparable, C any] interface {
	// Acquire returns a connection.
	Acquire(ctx context.Context) (C, error)
	// Read makes the reads of a group in a snapshot.
	Read(ctx context.Context, conn C, in Snap, group []*Reading[T, C]) error
	// End ends the snapshot of a connection, and gives that back.
	End(conn C)
	// Start runs fn beside, and returns false when the store is closed.
	Start(fn func()) bool
	// Limited returns the context of a read for others. It ends with the store.
	Limited() (context.Context, context.CancelFunc)
}

// Snap says in which snapshot of a connection a group reads.
type Snap uint8

// The snapshots of a connection.
const (
	First Snap = iota // one that begins: there is none
	Next              // one that begins, while the one that is there ends
	Same              // the one that is there
)

// Queue has the first reads that wait: those that come while others are under way go
// next. A snapshot that nobody uses any more ends in the same round trip in which the
// next begins.
type Queue[T comparable, C any] struct {
	source Source[T, C]
	limit  int // how many snapshots there may be; units with their own go on, and end

	mu      sync.Mutex
	closed  bool
	serving bool
	waiting []*Reading[T, C]
	open    map[*Snapshot[T, C]]struct{}
	unused  []*Snapshot[T, C] // without users, oldest first; empty while nobody serves
	ending  int               // snapshots whose connections are on their way back
	groups  int
}

// maxUnused is how many snapshots are kept for the next groups.
const maxUnused = 2

// MaxIDs is how many rows a read may ask for and still be made with others.
const MaxIDs = 64

// Reading is a read of a unit.
type Reading[T comparable, C any] struct {
	Table T
	IDs   []string
	Rows  []driver.Row

	// done is closed when there is an outcome: rows with their snapshot, or, without
	// one, that the unit must read by itself.
	done     chan struct{}
	snapshot *Snapshot[T, C]
	gone     bool  // nobody waits for it any more
	err      error // of one that is not the first
}

// Snapshot is a transaction that only reads, and that the units share whose first reads
// it has made.
type Snapshot[T comparable, C any] struct {
	// Name is what the store calls it. Only who uses the snapshot may read or set it.
	Name string

	queue *Queue[T, C]
	using sync.Mutex // the connection
	// queue.mu guards what follows.
	conn  C
	alive bool // it has the connection
	users int
	// waiting are reads of units that have the snapshot, which somebody makes as long as
	// reading is true.
	waiting []*Reading[T, C]
	reading bool
}

// New returns a queue that has so many snapshots at most; none with 0.
func New[T comparable, C any](source Source[T, C], limit int) *Queue[T, C] {
	return &Queue[T, C]{source: source, limit: limit, open: map[*Snapshot[T, C]]struct{}{}}
}

// Groups returns how many groups there were.
func (q *Queue[T, C]) Groups() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.groups
}

// Idle reports whether there is no snapshot, and no connection on its way back.
func (q *Queue[T, C]) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.serving && len(q.open) == 0 && q.ending == 0
}

// Get makes a unit's first read together with those of others. It returns no snapshot
// when the unit must make it by itself, and else the one that it has from then on, until
// Leave.
func (q *Queue[T, C]) Get(ctx context.Context, table T, ids []string) (rows []driver.Row, s *Snapshot[T, C], err error) {
	r := &Reading[T, C]{Table: table, IDs: slices.Clone(ids), done: make(chan struct{})}
	if !q.join(r) {
		return nil, nil, nil
	}
	select {
	case <-r.done:
	case <-unitcontext.Waiting(ctx).Done():
		q.leave(r)
		return nil, nil, context.Cause(ctx)
	}
	return r.Rows, r.snapshot, nil
}

func (q *Queue[T, C]) join(r *Reading[T, C]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.open)-len(q.unused) >= q.limit {
		return false
	}
	if !q.serving {
		if !q.source.Start(q.serve) {
			return false
		}
		q.serving = true
	}
	q.waiting = append(q.waiting, r)
	return true
}

// leave is for who does not wait for a read any more.
func (q *Queue[T, C]) leave(r *Reading[T, C]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.gone = true
	if i := slices.Index(q.waiting, r); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	if r.snapshot != nil {
		q.drop(r.snapshot)
	}
}

// serve reads for those who wait until nobody does.
func (q *Queue[T, C]) serve() {
	for {
		group, last, unused := q.turn()
		for _, s := range unused {
			s.end()
		}
		if len(group) == 0 {
			return
		}
		q.read(group, last)
	}
}

// turn returns who reads next, and a snapshot that may end by that; or else all that
// nobody uses.
func (q *Queue[T, C]) turn() (group []*Reading[T, C], last *Snapshot[T, C], unused []*Snapshot[T, C]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	group, q.waiting = q.waiting, nil
	if len(group) == 0 {
		q.serving = false
		unused, q.unused = q.unused, nil
		return nil, nil, unused
	}
	q.groups++
	if len(q.unused) > 0 {
		last = q.unused[0]
		q.unused = slices.Delete(q.unused, 0, 1)
	}
	return group, last, nil
}

// read makes a group's reads, on the connection of a snapshot that has no users or a
// new one.
func (q *Queue[T, C]) read(group []*Reading[T, C], last *Snapshot[T, C]) {
	ctx, cancel := q.source.Limited()
	defer cancel()
	s := &Snapshot[T, C]{queue: q}
	in := Next
	if last == nil || !q.inherit(s, last) {
		in = First
		c, err := q.source.Acquire(ctx)
		if err != nil {
			q.deliver(group, nil)
			return
		}
		if !q.add(s, c) {
			q.source.End(c)
			q.deliver(group, nil)
			return
		}
	}
	err := s.Use(func(conn C) error { return q.source.Read(ctx, conn, in, group) })
	if err != nil {
		q.deliver(group, nil)
		s.end()
		return
	}
	q.deliver(group, s)
}

// inherit gives a snapshot the connection of one that has ended.
func (q *Queue[T, C]) inherit(s, last *Snapshot[T, C]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !last.alive {
		return false
	}
	s.conn, s.alive, last.alive = last.conn, true, false
	delete(q.open, last)
	q.open[s] = struct{}{}
	return true
}

func (q *Queue[T, C]) add(s *Snapshot[T, C], c C) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	s.conn, s.alive = c, true
	q.open[s] = struct{}{}
	return true
}

// deliver tells a group that it has a snapshot, or must read by itself.
func (q *Queue[T, C]) deliver(group []*Reading[T, C], s *Snapshot[T, C]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s != nil {
		s.users++ // until all have it
	}
	for _, r := range group {
		if s != nil && !r.gone {
			s.users++
			r.snapshot = s
		}
		close(r.done)
	}
	if s != nil {
		q.drop(s)
	}
}

// Leave is for a unit that does not use its snapshot any more.
func (q *Queue[T, C]) Leave(s *Snapshot[T, C]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(s)
}

// drop is for who does not use a snapshot any more, with mu held. What can't be ended
// beside, Close ends.
func (q *Queue[T, C]) drop(s *Snapshot[T, C]) {
	if s.users--; s.users > 0 || !s.alive || q.closed {
		return
	}
	if q.serving && len(q.unused) < maxUnused {
		q.unused = append(q.unused, s) // the next group ends it
		return
	}
	q.source.Start(s.end)
}

// Use runs fn with the snapshot's connection, which nobody else uses meanwhile.
func (s *Snapshot[T, C]) Use(fn func(conn C) error) error {
	s.using.Lock()
	defer s.using.Unlock()
	s.queue.mu.Lock()
	c, alive := s.conn, s.alive
	s.queue.mu.Unlock()
	if !alive {
		return ErrEnded
	}
	return fn(c)
}

// end ends the snapshot, and gives its connection back.
func (s *Snapshot[T, C]) end() {
	s.using.Lock()
	defer s.using.Unlock()
	q := s.queue
	q.mu.Lock()
	c, alive := s.conn, s.alive
	s.alive = false
	delete(q.open, s)
	q.ending++
	q.mu.Unlock()
	if alive {
		q.source.End(c)
	}
	q.mu.Lock()
	q.ending--
	q.mu.Unlock()
}

// Close ends all snapshots: whoever uses them gets ErrEnded.
func (q *Queue[T, C]) Close() {
	q.mu.Lock()
	q.closed = true
	open := make([]*Snapshot[T, C], 0, len(q.open))
	for s := range q.open {
		open = append(open, s)
	}
	q.mu.Unlock()
	for _, s := range open {
		s.end()
	}
}

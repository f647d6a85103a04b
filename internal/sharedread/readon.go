package sharedread

import (
	"context"
	"slices"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/unitcontext"
)

// Get makes another read of a unit that has the snapshot: together with those of others
// that come while its connection is in use.
func (s *Snapshot[T, C]) Get(ctx context.Context, table T, ids []string) ([]driver.Row, error) {
	r := &Reading[T, C]{Table: table, IDs: slices.Clone(ids), done: make(chan struct{})}
	if !s.join(r) {
		return nil, ErrEnded
	}
	select {
	case <-r.done:
		return r.Rows, r.err
	case <-unitcontext.Waiting(ctx).Done():
		return nil, context.Cause(ctx)
	}
}

// join has a read made. Who makes them is a user of the snapshot too: a unit may end before
// its read has.
func (s *Snapshot[T, C]) join(r *Reading[T, C]) bool {
	q := s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !s.reading {
		if q.closed || !q.source.Start(s.readOn) {
			return false
		}
		s.reading = true
		s.users++
	}
	s.waiting = append(s.waiting, r)
	return true
}

// readOn makes reads until nobody waits for one.
func (s *Snapshot[T, C]) readOn() {
	for group := s.turn(); len(group) > 0; group = s.turn() {
		s.read(group)
	}
}

func (s *Snapshot[T, C]) turn() []*Reading[T, C] {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	group := s.waiting
	s.waiting = nil
	if len(group) == 0 {
		s.reading = false
		s.queue.drop(s)
	}
	return group
}

func (s *Snapshot[T, C]) read(group []*Reading[T, C]) {
	ctx, cancel := s.queue.source.Limited()
	defer cancel()
	err := s.Use(func(conn C) error { return s.queue.source.Read(ctx, conn, Same, group) })
	for _, r := range group {
		r.err = err
		close(r.done)
	}
}

package postgres

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// subscribers are called after commits that appended messages.
type subscribers struct {
	mu   sync.Mutex
	next int
	fns  map[int]func()
	list atomic.Pointer[[]func()] // the functions, for wake
}

func (s *subscribers) add(fn func()) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fns == nil {
		s.fns = map[int]func(){}
	}
	id := s.next
	s.next++
	s.fns[id] = fn
	s.publish()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.fns, id)
		s.publish()
	}
}

// publish makes the list anew, with mu held.
func (s *subscribers) publish() {
	list := slices.Collect(maps.Values(s.fns))
	s.list.Store(&list)
}

func (s *subscribers) wake() {
	if list := s.list.Load(); list != nil {
		for _, fn := range *list {
			fn()
		}
	}
}

package outbox

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Subscribers is what a store needs for Log.Subscribe: functions that are called
// after commits that appended messages. Its zero value has none. It may be used
// from many goroutines, and Wake costs next to nothing.
type Subscribers struct {
	mu   sync.Mutex
	next int
	fns  map[int]func(bool)
	list atomic.Pointer[[]func(bool)] // the functions, for Wake
}

// Add has fn called by every Wake until cancel is called.
func (s *Subscribers) Add(fn func(recent bool)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fns == nil {
		s.fns = map[int]func(bool){}
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
func (s *Subscribers) publish() {
	list := slices.Collect(maps.Values(s.fns))
	s.list.Store(&list)
}

// Any reports whether there are functions.
func (s *Subscribers) Any() bool {
	list := s.list.Load()
	return list != nil && len(*list) > 0
}

// Wake calls the functions, which learn whether a Recent has what was appended.
func (s *Subscribers) Wake(recent bool) {
	if list := s.list.Load(); list != nil {
		for _, fn := range *list {
			fn(recent)
		}
	}
}

package uow

// few is the greatest number of aggregates that are searched one by one.
const few = 8

// entries are aggregates by id, in the order in which they came.
type entries[T any] struct {
	list  []*entry[T]
	byID  map[string]*entry[T] // nil while there are few
	first [1]*entry[T]         // the list of most units
}

func (s *entries[T]) get(id string) (*entry[T], bool) {
	if s.byID != nil {
		e, ok := s.byID[id]
		return e, ok
	}
	for _, e := range s.list {
		if e.id == id {
			return e, true
		}
	}
	return nil, false
}

// add adds one that is not there.
func (s *entries[T]) add(e *entry[T]) {
	if s.list == nil {
		s.list = s.first[:0]
	}
	s.list = append(s.list, e)
	if s.byID != nil {
		s.byID[e.id] = e
		return
	}
	if len(s.list) > few {
		s.index(len(s.list))
	}
}

// expect makes room for n more.
func (s *entries[T]) expect(n int) {
	if n += len(s.list); n > few && s.byID == nil {
		s.index(n)
	}
}

func (s *entries[T]) index(n int) {
	s.byID = make(map[string]*entry[T], n)
	for _, e := range s.list {
		s.byID[e.id] = e
	}
}

// cut forgets all but the first n.
func (s *entries[T]) cut(n int) {
	for _, e := range s.list[n:] {
		delete(s.byID, e.id)
	}
	clear(s.list[n:])
	s.list = s.list[:n]
}

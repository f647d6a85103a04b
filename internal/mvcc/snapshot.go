package mvcc

import "sort"

// pins counts the transactions that read from each snapshot. Snapshots are taken
// at the newest commit, so that new ones go to the end.
type pins struct {
	list []pin
}

type pin struct {
	commit int64
	users  int
}

func (p *pins) add(commit int64) {
	if n := len(p.list); n > 0 && p.list[n-1].commit == commit {
		p.list[n-1].users++
		return
	}
	p.list = append(p.list, pin{commit: commit, users: 1})
}

func (p *pins) remove(commit int64) {
	i := sort.Search(len(p.list), func(i int) bool { return p.list[i].commit >= commit })
	p.list[i].users--
	for len(p.list) > 0 && p.list[0].users == 0 {
		p.list = p.list[1:]
	}
}

// garbage is a row that got a newer state by a commit; the older ones can go when
// no snapshot is older than it.
type garbage struct {
	commit int64
	table  *table
	id     string
	record *record
}

// oldest returns the oldest snapshot in use, or the newest commit that snapshots
// see.
func (s *Store) oldest() int64 {
	if len(s.pins.list) > 0 {
		return s.pins.list[0].commit
	}
	return s.visible
}

// collect forgets what no snapshot can see any more. The store is locked.
func (s *Store) collect() {
	oldest := s.oldest()
	for len(s.garbage) > 0 && s.garbage[0].commit <= oldest {
		g := s.garbage[0]
		g.record.forget(oldest)
		if g.record.forgettable(g.table) && g.table.rows[g.id] == g.record {
			delete(g.table.rows, g.id)
		}
		s.garbage = s.garbage[1:]
	}
}

// unpin gives a snapshot back.
func (s *Store) unpin(snapshot int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pins.remove(snapshot)
	s.collect()
}

package mysql

import (
	"cmp"
	"context"
	"slices"
	"sync"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

// snapshot is a transaction that only reads, and that the units share whose first
// reads it has made.
//
// It is not for writing: see sharedRead.
type snapshot struct {
	reads *reads
	// reads.mu guards what follows.
	conn  *session
	users int

	using sync.Mutex // the connection, after the first reads
}

// reading is the first read of a unit, which waits to be made with others.
type reading struct {
	table *table
	ids   []string
	rows  []driver.Row
	// done is closed when there is an outcome: rows with their snapshot, or, when it
	// is nil, that the unit must read by itself.
	done     chan struct{}
	snapshot *snapshot
	gone     bool // nobody waits for it any more
}

// reads are the first reads that are made together in a crowd: those that come while
// others are under way go next, in one round trip and one snapshot. A snapshot that
// nobody uses any more ends in the same round trip in which the next begins.
type reads struct {
	store *Store
	limit int // how many snapshots there may be; units with their own go on, and end

	mu      sync.Mutex
	closed  bool
	serving bool
	waiting []*reading
	open    map[*snapshot]struct{}
	unused  []*snapshot // without users, oldest first; empty while nobody serves
	groups  int         // how many there were
}

const (
	maxReadIDs   = 64 // that a read may ask for and still be made with others
	maxUnused    = 2  // snapshots that are kept for the next groups
	maxSnapshots = 8
)

// getTogether makes the unit's first read together with those of others. ok is false
// when the unit must make it by itself.
func (t *tx) getTogether(ctx context.Context, table *table, ids []string) (rows []driver.Row, ok bool, err error) {
	if s := newScript(); s.ids(len(ids), func(i int) string { return ids[i] }).err != nil {
		return nil, false, nil //nolint:nilerr // alone it gets its error
	}
	q := &t.store.reads
	r := &reading{table: table, ids: slices.Clone(ids), done: make(chan struct{})}
	if !q.join(r) {
		return nil, false, nil
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		q.leave(r)
		return nil, false, context.Cause(ctx)
	}
	if r.snapshot == nil {
		return nil, false, nil
	}
	t.shared = &sharedRead{snapshot: r.snapshot}
	t.shared.got(table, ids, r.rows)
	return r.rows, true, nil
}

func (q *reads) join(r *reading) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.open)-len(q.unused) >= q.limit {
		return false
	}
	if !q.serving {
		if !q.store.start(q.serve) {
			return false
		}
		q.serving = true
	}
	q.waiting = append(q.waiting, r)
	return true
}

// leave is for who does not wait for a read any more.
func (q *reads) leave(r *reading) {
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
func (q *reads) serve() {
	for {
		q.mu.Lock()
		group := q.waiting
		q.waiting = nil
		var last *snapshot
		var unused []*snapshot
		switch {
		case len(group) == 0:
			q.serving = false
			unused, q.unused = q.unused, nil
		default:
			q.groups++
			if len(q.unused) > 0 {
				last, q.unused = q.unused[0], q.unused[1:]
			}
		}
		q.mu.Unlock()
		for _, s := range unused {
			s.end()
		}
		if len(group) == 0 {
			return
		}
		q.read(group, last)
	}
}

// read makes a group's reads, on the connection of a snapshot that has no users or a
// new one.
func (q *reads) read(group []*reading, last *snapshot) {
	ctx, cancel := context.WithTimeout(q.store.background, q.store.options.CommitTimeout)
	defer cancel()
	s := &snapshot{reads: q}
	if last != nil && q.take(s, last) {
		q.attempt(ctx, group, s, true)
		return
	}
	c, err := q.store.acquire(ctx)
	if err != nil || !q.add(s, c) {
		if err == nil {
			c.release()
		}
		q.deliver(group, nil)
		return
	}
	q.attempt(ctx, group, s, false)
}

// take gives a snapshot the connection of one that has ended.
func (q *reads) take(s, last *snapshot) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if last.conn == nil {
		return false
	}
	s.conn, last.conn = last.conn, nil
	delete(q.open, last)
	q.open[s] = struct{}{}
	return true
}

func (q *reads) add(s *snapshot, c *session) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	s.conn = c
	q.open[s] = struct{}{}
	return true
}

// attempt sends a group's reads, and hands the rows out.
func (q *reads) attempt(ctx context.Context, group []*reading, s *snapshot, begun bool) {
	sc := newScript()
	if begun && q.store.ownLevel != RepeatableRead {
		sc.do("COMMIT") // START TRANSACTION does, but the level is set before
	}
	q.store.begin(sc, RepeatableRead, true)
	for _, t := range q.store.listed {
		gather(sc, t, group)
	}
	q.mu.Lock()
	c := s.conn
	q.mu.Unlock()
	if c == nil { // the store has been closed
		q.deliver(group, nil)
		return
	}
	s.using.Lock()
	_, err := c.run(ctx, sc, q.store.maxPacket)
	s.using.Unlock()
	if err != nil {
		q.deliver(group, nil)
		s.end()
		return
	}
	q.deliver(group, s)
}

// gather appends the query for the rows of one collection that a group wants.
func gather(s *script, t *table, group []*reading) {
	type want struct {
		id string
		r  *reading
	}
	var wants []want
	for _, r := range group {
		if r.table != t {
			continue
		}
		r.rows = nil
		for _, id := range r.ids {
			wants = append(wants, want{id, r})
		}
	}
	slices.SortFunc(wants, func(a, b want) int { return cmp.Compare(a.id, b.id) })
	var ids []string
	for i := range wants {
		if i == 0 || wants[i].id != wants[i-1].id {
			ids = append(ids, wants[i].id)
		}
	}
	t.get(s, ids, "", func(row []sqldriver.Value) error {
		id := text(row[0])
		i, _ := slices.BinarySearchFunc(wants, id, func(w want, id string) int { return cmp.Compare(w.id, id) })
		for last := (*reading)(nil); i < len(wants) && wants[i].id == id; i++ {
			if r := wants[i].r; r != last {
				if err := t.collect(&r.rows)(row); err != nil {
					return err
				}
				last = r
			}
		}
		return nil
	})
}

// deliver tells a group that it has a snapshot, or must read by itself.
func (q *reads) deliver(group []*reading, s *snapshot) {
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

// drop is for who does not use a snapshot any more, with mu held.
func (q *reads) drop(s *snapshot) {
	if s.users--; s.users > 0 || s.conn == nil {
		return
	}
	if q.serving && len(q.unused) < maxUnused {
		q.unused = append(q.unused, s) // the next group ends it
		return
	}
	if !q.store.start(s.end) {
		s.end()
	}
}

// end ends the snapshot, and gives its connection back.
func (s *snapshot) end() {
	s.reads.mu.Lock()
	c := s.conn
	s.conn = nil
	delete(s.reads.open, s)
	s.reads.mu.Unlock()
	if c == nil {
		return
	}
	if c.alive() {
		c.rollback(s.reads.store.maxPacket)
	}
	c.release()
}

// run reads in the snapshot.
func (s *snapshot) run(ctx context.Context, sc *script) error {
	s.using.Lock()
	defer s.using.Unlock()
	s.reads.mu.Lock()
	c := s.conn
	s.reads.mu.Unlock()
	switch {
	case c == nil:
		return ErrClosed
	case !c.alive():
		return errLost
	}
	_, err := c.run(ctx, sc, s.reads.store.maxPacket)
	return err
}

// close takes all snapshots away: whoever uses them finds the store closed.
func (q *reads) close() {
	q.mu.Lock()
	q.closed = true
	open := make([]*snapshot, 0, len(q.open))
	for s := range q.open {
		open = append(open, s)
	}
	q.mu.Unlock()
	for _, s := range open {
		s.using.Lock()
		s.end()
		s.using.Unlock()
	}
}

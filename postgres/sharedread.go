package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/unitcontext"
)

// snapshot is a transaction that only reads, and that the units share whose first
// reads it has made. A unit that reads on gets a transaction of its own with the same
// snapshot.
type snapshot struct {
	reads *reads
	// reads.mu guards what follows.
	conn  *pgxpool.Conn
	users int

	exporting sync.Mutex
	name      string // by which other transactions can have it
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
	readers int
	waiting []*reading
	open    map[*snapshot]struct{}
	unused  []*snapshot // without users, oldest first; empty without readers
	ending  int         // snapshots whose connections are on their way back
	groups  int         // how many there were
}

// maxReaders is how many groups of reads are under way at once, and maxReadIDs how
// many rows a read may ask for and still be made with others.
const (
	maxReaders  = 1
	maxReadIDs  = 64
	maxUnused   = 2
	minForReads = 4 // connections
)

// getTogether makes the unit's first read together with those of others. ok is false
// when the unit must make it by itself.
func (t *tx) getTogether(ctx context.Context, table *table, ids []string) (rows []driver.Row, ok bool, err error) {
	for _, id := range ids {
		if a := (&args{}); a.refuses(id) {
			return nil, false, nil // alone it gets its error
		}
	}
	q := &t.store.reads
	r := &reading{table: table, ids: slices.Clone(ids), done: make(chan struct{})}
	if !q.join(r) {
		return nil, false, nil
	}
	select {
	case <-r.done:
	case <-unitcontext.Waiting(ctx).Done():
		q.leave(r)
		return nil, false, context.Cause(ctx)
	}
	if r.snapshot == nil {
		return nil, false, nil
	}
	t.snapshot = r.snapshot
	return r.rows, true, nil
}

func (q *reads) join(r *reading) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.open)-len(q.unused) >= q.limit {
		return false
	}
	q.waiting = append(q.waiting, r)
	if q.readers < maxReaders {
		q.readers++
		q.store.work.Go(q.serve)
	}
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
		if len(group) > 0 && len(q.unused) > 0 {
			last = q.unused[0]
			q.unused = slices.Delete(q.unused, 0, 1)
		}
		var unused []*snapshot
		if len(group) == 0 {
			if q.readers--; q.readers == 0 {
				unused, q.unused = q.unused, nil
			}
		} else {
			q.groups++
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
	ctx, cancel := context.WithTimeout(q.store.wakes.ctx, q.store.options.CommitTimeout)
	defer cancel()
	s := &snapshot{reads: q}
	if last != nil && q.take(s, last) {
		q.attempt(ctx, group, s, true)
		return
	}
	c, err := q.store.acquire(ctx)
	if err != nil || !q.add(s, c) {
		if err == nil {
			c.Release()
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

func (q *reads) add(s *snapshot, c *pgxpool.Conn) bool {
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
	sql := q.store.sql
	steps := make([]step, 0, 4)
	if begun {
		steps = append(steps, plain(sql.commit))
	}
	steps = append(steps, plain(sql.beginReading))
	for _, t := range q.store.listed {
		if st, ok := gathered(t, group); ok {
			steps = append(steps, st)
		}
	}
	q.mu.Lock()
	c := s.conn
	q.mu.Unlock()
	if c == nil { // the store has been closed
		q.deliver(group, nil)
		return
	}
	if _, err := q.store.run(ctx, c.Conn(), steps); err != nil {
		q.deliver(group, nil)
		s.end()
		return
	}
	q.deliver(group, s)
}

// gathered makes the query for the rows of one collection that a group wants.
func gathered(t *table, group []*reading) (step, bool) {
	type want struct {
		id string
		r  *reading
	}
	var wants []want
	for _, r := range group {
		if r.table != t {
			continue
		}
		for _, id := range r.ids {
			wants = append(wants, want{id, r})
		}
	}
	if len(wants) == 0 {
		return step{}, false
	}
	slices.SortFunc(wants, func(a, b want) int { return strings.Compare(a.id, b.id) })
	row := func(row [][]byte) error {
		i, _ := slices.BinarySearchFunc(wants, row[0], func(w want, id []byte) int { return strings.Compare(w.id, string(id)) })
		for last := (*reading)(nil); i < len(wants) && wants[i].id == string(row[0]); i++ {
			if r := wants[i].r; r != last {
				r.rows = append(r.rows, rowOf(row))
				last = r
			}
		}
		return nil
	}
	if len(wants) == 1 {
		return step{statement: t.selectOne, args: newArgs(1).text(wants[0].id), row: row}, true
	}
	return step{statement: t.selectMany, args: newArgs(len(wants)).texts(len(wants), func(i int) string { return wants[i].id }), row: row}, true
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
	if q.readers > 0 && len(q.unused) < maxUnused {
		q.unused = append(q.unused, s) // the next group ends it
		return
	}
	q.store.work.Go(s.end)
}

// end ends the snapshot, and gives its connection back.
func (s *snapshot) end() {
	s.reads.mu.Lock()
	c := s.conn
	s.conn = nil
	delete(s.reads.open, s)
	s.reads.ending++
	s.reads.mu.Unlock()
	defer func() {
		if c != nil {
			c.Release()
		}
		s.reads.mu.Lock()
		s.reads.ending--
		s.reads.mu.Unlock()
	}()
	if c == nil {
		return
	}
	if c.Conn().IsClosed() {
		return
	}
	if _, err := s.reads.store.runFor(cleanupTime, c.Conn(), []step{plain(s.reads.store.sql.rollback)}); err != nil {
		destroy(c.Conn())
	}
}

// close takes all snapshots away: whoever uses them finds the store closed.
func (q *reads) close() {
	q.mu.Lock()
	q.closed = true
	var conns []*pgxpool.Conn
	for s := range q.open {
		if s.conn != nil && s.users > 0 {
			conns, s.conn = append(conns, s.conn), nil
		}
	}
	q.mu.Unlock()
	for _, c := range conns {
		destroy(c.Conn())
		c.Release()
	}
}

// leaveSnapshot ends the unit's part in a shared snapshot.
func (t *tx) leaveSnapshot() {
	if t.snapshot == nil {
		return
	}
	q := &t.store.reads
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(t.snapshot)
	t.snapshot = nil
}

// export returns the statement by which another transaction gets the snapshot.
func (s *snapshot) export(ctx context.Context) (*statement, error) {
	s.exporting.Lock()
	defer s.exporting.Unlock()
	if s.name == "" {
		s.reads.mu.Lock()
		c := s.conn
		s.reads.mu.Unlock()
		if c == nil {
			return nil, ErrClosed
		}
		query := plain(s.reads.store.sql.export)
		query.row = func(row [][]byte) error { s.name = string(row[0]); return nil }
		if _, err := s.reads.store.runFor(cleanupTime, c.Conn(), []step{query}); err != nil {
			return nil, s.reads.store.wrap(ctx, "read", fmt.Errorf("%w: %w", errLost, err))
		}
	}
	return &statement{sql: `SET TRANSACTION SNAPSHOT ` + literal(s.name)}, nil
}

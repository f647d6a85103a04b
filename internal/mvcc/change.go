package mvcc

import (
	"slices"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// Journal makes changes durable. It is used by one goroutine at a time.
type Journal interface {
	// Admit refuses a unit before it is looked at. It is called under the store's
	// lock.
	Admit(unit string) error
	// Write returns when the changes are durable, in their order. An error means
	// that none of them is, or, when it is driver.ErrInDoubt, that nobody knows: then
	// Admit must refuse everything that comes later. What it is given is not
	// changed afterwards, and may be kept.
	Write(changes []*Change) error
}

// Change is what one unit, or one operation of the log, changes: the states
// afterwards, so that applying it twice does no harm.
type Change struct {
	// Unit is the id of the unit.
	Unit string
	Rows []Row
	// Messages have their positions.
	Messages []driver.Message
	Cursors  []CursorChange
	// Delayed are messages that are to wait, and Promoted numbers of those that do no
	// more.
	Delayed  []driver.Message
	Promoted []int64
	// Trimmed are positions of messages that are deleted.
	Trimmed []int64
}

// empty reports whether a change changes nothing.
func (c *Change) empty() bool {
	return len(c.Rows) == 0 && len(c.Messages) == 0 && len(c.Cursors) == 0 && len(c.Trimmed) == 0 &&
		len(c.Delayed) == 0 && len(c.Promoted) == 0
}

// Row is the newest state of a row.
type Row struct {
	Collection string
	driver.Row
	// Indexes are the values in the order of the collection's indexes; nil for a
	// deleted row.
	Indexes []driver.Value
	// Deleted rows remember their version and sequence.
	Deleted bool
	// Forgotten rows are deleted and leave nothing.
	Forgotten bool
}

// CursorChange is what changes of a cursor.
type CursorChange struct {
	Name string
	// Dropped cursors are forgotten.
	Dropped         bool
	Position, Epoch int64
	// Split is as in Cursor.
	Split int
	// Hold are states of held messages that are new, Gone positions that are held
	// no more.
	Hold []outbox.Hold
	Gone []int64
	// owner and expires are the lease that begins with the epoch.
	owner   string
	expires time.Time
}

// request is one who wants something changed.
type request struct {
	tx *tx // a transaction that commits a change set, or
	cs *driver.ChangeSet
	// log says what to change of the log, or
	log     func() (Change, error)
	closing bool

	change Change
	err    error
	wake   chan signal
}

// prepare decides a request, by what is committed and what was prepared before it,
// and makes its rows the newest, though not visible. The store is locked.
func (r *request) prepare(s *Store) (err error) {
	switch {
	case r.closing:
		s.closed = true
		return nil
	case s.closed:
		return s.options.Closed
	case r.log != nil:
		r.change, err = r.log()
		return err
	}
	if s.options.Journal != nil {
		if err := s.options.Journal.Admit(r.cs.Unit); err != nil {
			return err
		}
	}
	g := &r.tx.staged
	if err := g.recheck(s); err != nil {
		return err
	}
	if err := g.add(s, r.cs); err != nil {
		return err
	}
	g.apply(s)
	r.change = Change{Unit: r.cs.Unit, Rows: g.changed(s)}
	r.change.Messages, r.change.Delayed = driver.Apart(g.messages)
	s.number(&r.change)
	return nil
}

// changed returns the rows as they are now.
func (g *staged) changed(s *Store) []Row {
	rows := make([]Row, 0, len(g.order))
	for _, k := range g.order {
		next := g.rows[k]
		rows = append(rows, Row{
			Collection: k.collection,
			Row:        next.row,
			Indexes:    next.indexes,
			Deleted:    next.deleted,
			Forgotten:  next.deleted && s.tables[k.collection].desc.Disposable,
		})
	}
	return rows
}

// finish makes what was prepared visible. The store is locked.
func (r *request) finish(s *Store) {
	if r.closing {
		s.tables, s.garbage, s.log = nil, nil, Log{}
		return
	}
	s.log.Apply(&r.change)
}

// undo takes back what was prepared, of which everything that came later was taken
// back before. The store is locked.
func (r *request) undo(s *Store) {
	if r.tx != nil {
		r.tx.staged.undo(s)
	}
}

// Load puts rows into a registered collection that nobody has used yet. They are
// kept as they are. It reports the first row whose unique value another one has.
func (s *Store) Load(collection string, rows []Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.table(collection)
	if err != nil {
		return err
	}
	for _, row := range rows {
		next := state{row: row.Row, indexes: row.Indexes, deleted: row.Deleted}
		for i, v := range row.Indexes {
			if t.holders[i] == nil || v == nil {
				continue
			}
			if _, taken := t.holders[i][mapKey(v)]; taken {
				return &driver.DuplicateError{Collection: collection, ID: row.ID, Index: t.desc.Indexes[i].Name}
			}
		}
		t.hold(row.ID, next)
		t.put(row.ID, next)
	}
	return nil
}

// LoadLog replaces the log of a store that nobody has used yet.
func (s *Store) LoadLog(log Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.position, s.delays = log, log.End, log.Delays
}

// Apply makes a change of the log. It may be repeated.
func (l *Log) Apply(c *Change) {
	for _, m := range c.Messages {
		if m.Position > l.End {
			l.End = m.Position
			l.Messages = append(l.Messages, m)
		}
	}
	for i := range c.Cursors {
		l.applyCursor(&c.Cursors[i])
	}
	l.applyDelayed(c)
	if len(c.Trimmed) == 0 {
		return
	}
	gone := make(map[int64]bool, len(c.Trimmed))
	for _, position := range c.Trimmed {
		gone[position] = true
	}
	l.Messages = slices.DeleteFunc(l.Messages, func(m driver.Message) bool { return gone[m.Position] })
}

func (l *Log) applyCursor(change *CursorChange) {
	l.Epochs = max(l.Epochs, change.Epoch)
	if change.Dropped {
		delete(l.Cursors, change.Name)
		return
	}
	c, ok := l.Cursors[change.Name]
	if !ok {
		c = &Cursor{Held: map[int64]outbox.Hold{}}
		l.Cursors[change.Name] = c
	}
	if change.Epoch != c.Epoch {
		c.owner, c.expires = change.owner, change.expires
	}
	c.Position, c.Epoch, c.Split = change.Position, change.Epoch, change.Split
	for _, h := range change.Hold {
		c.Held[h.Position] = h
	}
	for _, position := range change.Gone {
		delete(c.Held, position)
	}
}

// Decide runs fn between the changes, and returns when all that came before it are
// decided.
func (s *Store) Decide(fn func()) error {
	return s.change(&request{log: func() (Change, error) { fn(); return Change{}, nil }})
}

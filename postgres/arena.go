package postgres

import "github.com/uow-go/uow/driver"

// arena is memory for what a unit sends, which later units use again. What does not
// fit is made anew.
type arena struct {
	buf    []byte
	values [][]byte
	args   []args
	steps  []step
	one    [1]*driver.Write
	given  given
}

func newArena() *arena {
	return &arena{buf: make([]byte, 0, 2048), values: make([][]byte, 0, 48), args: make([]args, 0, 6), steps: make([]step, 0, 12)}
}

// newArgs returns parameters of one statement.
func (m *arena) newArgs(n int) *args {
	size := argsSize(n)
	if m == nil || len(m.args) == cap(m.args) || cap(m.values)-len(m.values) < n || cap(m.buf)-len(m.buf) < size {
		return newArgs(n)
	}
	buf, values := len(m.buf), len(m.values)
	m.buf, m.values = m.buf[:buf+size], m.values[:values+n]
	m.args = append(m.args, args{buf: m.buf[buf:buf:len(m.buf)], values: m.values[values:values:len(m.values)]})
	return &m.args[len(m.args)-1]
}

// newSteps returns room for steps, which is the same each time.
func (m *arena) newSteps(n int) []step {
	if m == nil || n > cap(m.steps) {
		return make([]step, 0, n)
	}
	clear(m.steps[:cap(m.steps)])
	return m.steps[:0]
}

// reset forgets what was given out.
func (m *arena) reset() {
	clear(m.values)
	clear(m.args)
	clear(m.steps[:cap(m.steps)])
	m.buf, m.values, m.args, m.one[0] = m.buf[:0], m.values[:0], m.args[:0], nil
	m.given.reset()
}

// groupArena is memory for what groups send, which one after the other uses. Each list
// of parameters gets that of the same place in the group before.
type groupArena struct {
	lists []*args
	used  int
}

// maxGroupBuffer is the size in bytes up to which a list's memory is kept.
const maxGroupBuffer = 1 << 20

func (m *groupArena) newArgs() *args {
	if m.used == len(m.lists) {
		m.lists = append(m.lists, &args{})
	}
	a := m.lists[m.used]
	m.used++
	if cap(a.buf) > maxGroupBuffer {
		a.buf = nil
	}
	a.buf, a.values, a.err = a.buf[:0], a.values[:0], nil
	return a
}

// arena returns the transaction's, which it has until its end.
func (t *tx) arena() *arena {
	if t.mem == nil {
		t.mem, _ = t.store.arenas.Get().(*arena)
	}
	if t.mem == nil {
		t.mem = newArena()
	}
	return t.mem
}

func (t *tx) leaveArena() {
	if t.mem != nil {
		t.mem.reset()
		t.store.arenas.Put(t.mem)
		t.mem = nil
	}
}

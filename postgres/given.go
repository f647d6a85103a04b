package postgres

import (
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// What the statements that append messages return where somebody asks, since it costs some
// microseconds: where each is in the log, and whether its commit waits for the disk.
const (
	givenToOne  = ` RETURNING position, synced`
	givenToMany = ` RETURNING position, synced, id`
)

// given is what the log has given to the messages of a commit, for the relays of this
// process, which then need not read it. It is nil where there are none.
type given struct {
	messages []*driver.Message
	list     []driver.Message // those that are in the log
	next     int              // of messages
	unfit    bool             // a power loss may take them back, or it is not known where they are
	first    [1]*driver.Message
}

// newGiven is for the messages of a group.
func (s *Store) newGiven(messages []*driver.Message) *given {
	if !s.wakes.local.Any() {
		return nil
	}
	return &given{messages: messages}
}

// giveTo has the last step tell what messages are given.
func (p *plan) giveTo(messages []driver.Message) {
	if p.mem == nil || !p.store.wakes.local.Any() {
		return
	}
	p.given = &p.mem.given
	p.given.first[0] = &messages[0]
	p.given.messages = p.given.first[:]
	if len(messages) > 1 {
		p.given.messages = pointers(messages)
	}
	p.steps[len(p.steps)-1].giveTo(p.given)
}

// giveTo has a step that appends messages tell what they are given, where somebody asks.
func (s *step) giveTo(g *given) {
	if g != nil {
		s.given, s.statement = g, s.statement.tells
	}
}

// take notes what a message was given. They come in order, without those of units that
// are out of their group.
func (g *given) take(row [][]byte) {
	if len(row) > 2 {
		for g.next < len(g.messages) && g.messages[g.next].ID != string(row[2]) {
			g.next++
		}
	}
	if g.next >= len(g.messages) {
		g.unfit = true // they came in another order
		return
	}
	m := *g.messages[g.next]
	m.Position = number(row[0])
	g.list = append(g.list, m)
	g.unfit = g.unfit || len(row[1]) == 0 || !truth(row[1])
	g.next++
}

// again forgets what the rows of a statement said that is repeated.
func (g *given) again() {
	if g != nil {
		clear(g.list)
		g.list, g.next, g.unfit = g.list[:0], 0, false
	}
}

// keep hands over what was committed, and reports whether all of it was.
func (g *given) keep(recent *outbox.Recent) bool {
	if g == nil || g.unfit {
		return false
	}
	recent.Add(g.list)
	return true
}

// reset forgets a commit.
func (g *given) reset() {
	g.again()
	g.messages, g.first[0] = nil, nil
}

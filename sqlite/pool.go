package sqlite

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// pool has the read connections. The one returned last is given first, since its
// page cache is the warmest. Who finds none waits in turn.
type pool struct {
	dial func(ctx context.Context) (*conn, error)

	mu      sync.Mutex
	idle    []*conn
	open    int // connections that exist or are being opened
	max     int
	waiting []chan handover
	closed  bool
}

// handover is what one who waits gets: a connection, or leave to open one, or an
// error.
type handover struct {
	conn *conn
	err  error
}

func (p *pool) get(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, ErrClosed
	case len(p.idle) > 0:
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		p.mu.Unlock()
		return c, nil
	case p.open < p.max:
		p.open++
		p.mu.Unlock()
		return p.dialed(ctx)
	}
	turn := make(chan handover, 1)
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case h := <-turn:
		return p.accept(ctx, h)
	case <-ctx.Done():
		p.withdraw(turn)
		return nil, context.Cause(ctx)
	}
}

func (p *pool) accept(ctx context.Context, h handover) (*conn, error) {
	if h.conn == nil && h.err == nil {
		return p.dialed(ctx)
	}
	return h.conn, h.err
}

// dialed opens a connection that is counted already.
func (p *pool) dialed(ctx context.Context) (*conn, error) {
	c, err := p.dial(ctx)
	if err != nil {
		p.lost()
		return nil, wrap("open a connection", err)
	}
	return c, nil
}

// withdraw stops waiting. What was handed over in the meantime goes back.
func (p *pool) withdraw(turn chan handover) {
	p.mu.Lock()
	if i := slices.Index(p.waiting, turn); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	switch h := <-turn; {
	case h.conn != nil:
		p.put(h.conn)
	case h.err == nil:
		p.lost()
	}
}

// put gives back a healthy connection.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	if p.closed {
		p.open--
		p.mu.Unlock()
		_ = c.close() // nobody is left to be told
		return
	}
	if len(p.waiting) > 0 {
		p.next() <- handover{conn: c}
	} else {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
}

// drop closes a connection of unknown health.
func (p *pool) drop(c *conn) {
	_ = c.close() // it is being closed because it failed
	p.lost()
}

// lost gives the place of a connection that is gone to the next who waits.
func (p *pool) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 && !p.closed {
		p.next() <- handover{}
		return
	}
	p.open--
}

// next takes the first who waits, with mu held.
func (p *pool) next() chan handover {
	turn := p.waiting[0]
	p.waiting = slices.Delete(p.waiting, 0, 1)
	return turn
}

// close closes the idle connections; the others are closed as they come back.
func (p *pool) close() error {
	p.mu.Lock()
	idle, waiting := p.idle, p.waiting
	p.idle, p.waiting, p.closed = nil, nil, true
	p.open -= len(idle)
	p.mu.Unlock()
	for _, turn := range waiting {
		turn <- handover{err: ErrClosed}
	}
	var errs []error
	for _, c := range idle {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}

// Package unitcontext has the context that a unit's closure gets: one that ends with
// the unit, and costs nothing where nobody waits for that.
package unitcontext

import (
	"context"
	"sync"
	"time"
)

// Context ends when its parent does, and by End. It may be used from many goroutines,
// once Begin was called.
type Context struct {
	parent context.Context

	mu    sync.Mutex
	ended bool
	// derived is made when the first one waits.
	derived context.Context
	cancel  context.CancelFunc
}

// Begin gives the context its parent.
func (c *Context) Begin(parent context.Context) { c.parent = parent }

// End ends the context.
func (c *Context) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

// Deadline implements context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.derived == nil {
		c.derived, c.cancel = context.WithCancel(c.parent)
		if c.ended {
			c.cancel()
		}
	}
	return c.derived.Done()
}

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.derived != nil {
		return c.derived.Err()
	}
	if err := c.parent.Err(); err != nil || !c.ended {
		return err
	}
	return context.Canceled
}

// Value implements context.Context.
func (c *Context) Value(key any) any {
	c.mu.Lock()
	derived := c.derived
	c.mu.Unlock()
	if derived != nil { // where package context finds what it looks for
		return derived.Value(key)
	}
	return c.parent.Value(key)
}

// Waiting returns what a store may wait for in the place of a context while it does
// something for its unit, which can't end meanwhile.
func Waiting(ctx context.Context) context.Context {
	if c, ok := ctx.(*Context); ok {
		return c.parent
	}
	return ctx
}

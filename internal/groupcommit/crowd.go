package groupcommit

import "sync/atomic"

// Crowd counts the operations that are under way. Up to Limit each goes by itself; in a
// crowd they go together.
type Crowd struct {
	Limit int32
	n     atomic.Int32
}

// Enter begins an operation, and reports whether there is a crowd.
func (c *Crowd) Enter() (crowded bool) { return c.n.Add(1) > c.Limit }

// Leave ends an operation.
func (c *Crowd) Leave() { c.n.Add(-1) }

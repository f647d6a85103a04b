package relay

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow/outbox"
)

// Each makes a Publisher of a function that publishes one message.
//
// The messages of a key are published strictly one after the other, and a key
// stops at its first message that is not stored. Up to concurrency keys, and
// messages without a key, are under way at once in each call of Publish; at least
// one is. Nothing is begun any more after a message that was Unavailable.
//
// fn must return soon after its ctx ended. A panic in it counts as Unknown.
//
// When the relay gave the batch a time limit, no message is begun in the second
// half of it: what a slow key has left is held and goes on beside the others,
// instead of being cut off. An fn with a time limit of its own should therefore
// need no more than half of Config.PublishTimeout.
func Each(fn func(ctx context.Context, m outbox.Message) Result, concurrency int) Publisher {
	return &each{fn: fn, concurrency: max(concurrency, 1)}
}

// FirstHalf returns a context that ends with ctx, and already after half of the time
// limit where there is one. A Publisher begins no message any more when it has ended, so
// that each one that was begun has as long again to be answered. The caller must call
// cancel.
func FirstHalf(ctx context.Context) (begin context.Context, cancel context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithTimeout(ctx, time.Until(deadline)/2)
	}
	return context.WithCancel(ctx)
}

type each struct {
	fn          func(ctx context.Context, m outbox.Message) Result
	concurrency int
}

func (e *each) Publish(ctx context.Context, batch []outbox.Message) []Result {
	begin, cancel := FirstHalf(ctx)
	defer cancel()
	call := &eachCall{fn: e.fn, batch: batch, results: make([]Result, len(batch)), begin: begin}
	chains := make(chan []int)
	var workers sync.WaitGroup
	all := chainsOf(batch)
	for range min(e.concurrency, len(all)) {
		workers.Go(func() {
			for chain := range chains {
				call.publishChain(ctx, chain)
			}
		})
	}
	for _, chain := range all {
		chains <- chain
	}
	close(chains)
	workers.Wait()
	return call.results
}

// chainsOf returns the places of the messages of each key, in order, and each
// message without a key by itself.
func chainsOf(batch []outbox.Message) [][]int {
	var chains [][]int
	byKey := make(map[string]int)
	for i, m := range batch {
		at, ok := byKey[m.Key]
		if m.Key == "" || !ok {
			byKey[m.Key] = len(chains)
			chains = append(chains, []int{i})
			continue
		}
		chains[at] = append(chains[at], i)
	}
	return chains
}

// eachCall is one call of Publish.
type eachCall struct {
	fn      func(ctx context.Context, m outbox.Message) Result
	batch   []outbox.Message
	results []Result
	// begin ends when no message may be begun any more.
	begin context.Context
	// unavailable is the first result of this kind.
	unavailable atomic.Pointer[Result]
}

// publishChain publishes the messages of one key until one is not stored, or
// nothing may be begun any more.
func (c *eachCall) publishChain(ctx context.Context, chain []int) {
	stopped := false
	for _, i := range chain {
		unavailable := c.unavailable.Load()
		switch {
		case unavailable != nil:
			c.results[i] = *unavailable
		case stopped || c.begin.Err() != nil:
			c.results[i] = Result{Outcome: NotTried}
		default:
			r := c.call(ctx, c.batch[i])
			c.results[i], stopped = r, !r.Outcome.Delivered()
			if r.Outcome == Unavailable {
				c.unavailable.Store(&r)
			}
		}
	}
}

func (c *eachCall) call(ctx context.Context, m outbox.Message) (r Result) {
	defer func() {
		if p := recover(); p != nil {
			r = Result{Outcome: Unknown, Err: &PanicError{Value: p, Stack: debug.Stack()}}
		}
	}()
	return c.fn(ctx, m)
}

// PanicError reports that a publisher panicked.
type PanicError struct {
	// Value is what was given to panic.
	Value any
	// Stack is where, as debug.Stack prints it.
	Stack []byte
}

// Error says what was given to panic.
func (e *PanicError) Error() string { return fmt.Sprintf("relay: publisher panicked: %v", e.Value) }

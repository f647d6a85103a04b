package consumer

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow/relay"
)

// runner is one run.
type runner struct {
	cfg     Config
	source  Source
	stopped <-chan struct{}
	work    context.Context // of handlers
	broker  context.Context // of what is said to the broker
	slots   chan struct{}   // full while as many are being handled as may be

	lanesDone sync.WaitGroup
	ready     atomic.Int64  // how many wait for a slot
	left      chan struct{} // full when there may be room, or too little to do

	mu    sync.Mutex
	lanes map[string]*lane
	held  []*Delivery // in the order in which they came
}

// lane is what is here of a key, in order. The first is being worked on.
type lane struct{ waiting []*Delivery }

// receive goes on until ctx ends.
func (r *runner) receive(ctx context.Context) {
	wait, _ := relay.Backoff{Min: 50 * time.Millisecond, Max: 5 * time.Second}.Resolve()
	failures, more := 0, false
	for ctx.Err() == nil {
		room := r.room(more)
		if room <= 0 {
			select {
			case <-ctx.Done():
			case <-r.left:
			}
			continue
		}
		deliveries, err := r.source.Receive(ctx, room)
		for _, d := range deliveries {
			r.accept(d)
		}
		more = len(deliveries) < room
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		r.cfg.Logger.Warn("consumer: can't receive", "error", err, "failures", failures)
		pause(wait.Delay(failures), ctx.Done(), nil)
	}
}

// room is how many deliveries may come; 0 while it is better to wait. To ask a broker for one
// costs about as much as to ask it for many, so that is not done for a few as long as
// handlers have enough to do. But where more may be on its way of what it was asked for
// before, it is received: nobody extends it until then.
func (r *runner) room(more bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := r.cfg.Prefetch - len(r.held)
	if !more && room < r.cfg.Prefetch/4 && int(r.ready.Load()) >= r.cfg.Concurrency {
		return 0
	}
	return room
}

// accept puts a delivery into its lane.
func (r *runner) accept(d *Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, d)
	name := d.lane()
	if l := r.lanes[name]; l != nil && name != "" {
		l.waiting = append(l.waiting, d)
		return
	}
	l := &lane{waiting: []*Delivery{d}}
	if name != "" {
		r.lanes[name] = l
	}
	r.lanesDone.Go(func() { r.runLane(name, l, d) })
}

// runLane handles one after the other until none is left, or Run is to stop.
func (r *runner) runLane(name string, l *lane, first *Delivery) {
	for d := first; d != nil; d = r.next(name, l) {
		if !r.settle(d) {
			return // what is left is given back
		}
		r.release(d)
	}
}

// next returns what comes after the first of a lane; nil at its end.
func (r *runner) next(name string, l *lane) *Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.waiting = l.waiting[1:]; len(l.waiting) > 0 {
		return l.waiting[0]
	}
	delete(r.lanes, name)
	return nil
}

// release forgets a delivery.
func (r *runner) release(d *Delivery) {
	r.mu.Lock()
	r.held = slices.DeleteFunc(r.held, func(other *Delivery) bool { return other == d })
	r.mu.Unlock()
	if d.Released != nil {
		d.Released()
	}
	r.look()
}

// look has the receiver look for room.
func (r *runner) look() {
	select {
	case r.left <- struct{}{}:
	default:
	}
}

// here returns what is here, and what of it can still be acknowledged.
func (r *runner) here() (held, alive []*Delivery) {
	r.mu.Lock()
	held = slices.Clone(r.held)
	r.mu.Unlock()
	alive = slices.DeleteFunc(slices.Clone(held), func(d *Delivery) bool { return isClosed(d.ended()) })
	return held, alive
}

// giveBack returns what was not handled.
func (r *runner) giveBack() {
	held, alive := r.here()
	if err := r.source.Return(r.broker, alive); err != nil {
		r.cfg.Logger.Warn("consumer: can't give messages back: they come again when the broker misses them", "error", err, "messages", len(alive))
	}
	for _, d := range held {
		r.release(d)
	}
}

// extendEvery has the broker wait for what is held, until it is stopped.
func (r *runner) extendEvery(every time.Duration) (stop func()) {
	if every <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(r.broker)
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			_, alive := r.here()
			if len(alive) == 0 {
				continue
			}
			if err := r.source.Extend(ctx, alive); err != nil && ctx.Err() == nil {
				r.cfg.Logger.Warn("consumer: can't tell the broker to wait: messages may be delivered to others too", "error", err)
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// pause waits, and reports whether nothing came in between.
func pause(d time.Duration, stopped, ended <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stopped:
	case <-ended:
	}
	return false
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

package consumer

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrRunning is returned by Run when it is running already.
var ErrRunning = errors.New("consumer: already running")

// ErrClosed is returned by Run after Close.
var ErrClosed = errors.New("consumer: closed")

// Runner receives from a Source and has what it receives handled. The consumers of
// brokers are made of one.
type Runner struct {
	cfg    Config
	source Source
	extend time.Duration

	mu      sync.Mutex
	closed  bool
	running bool
	stop    context.CancelFunc
	idle    sync.WaitGroup
}

// NewRunner makes a Runner of a Config that is resolved. extend is how often to call
// Source.Extend, 0 for never.
func NewRunner(cfg Config, source Source, extend time.Duration) *Runner {
	return &Runner{cfg: cfg, source: source, extend: extend}
}

// Run handles what is received until ctx ends, or Close. Then it begins nothing new, lets
// handlers finish, acknowledges what they did, gives back the rest, and returns nil. It
// may be called again.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.closed || r.running {
		defer r.mu.Unlock()
		if r.closed {
			return ErrClosed
		}
		return ErrRunning
	}
	ctx, r.stop = context.WithCancel(ctx)
	defer r.stop()
	r.running = true
	r.idle.Add(1)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.running = false
		r.mu.Unlock()
		r.idle.Done()
	}()
	run(ctx, r.cfg, r.source, r.extend)
	return nil
}

// Close ends Run and waits for it. It may be called again, but not by a handler.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed = true
	if r.running {
		r.stop()
	}
	r.mu.Unlock()
	r.idle.Wait()
}

// run is one run, from its beginning to its end.
func run(ctx context.Context, cfg Config, source Source, extend time.Duration) {
	r := &runner{
		cfg: cfg, source: source, stopped: ctx.Done(), slots: make(chan struct{}, cfg.Concurrency),
		lanes: map[string]*lane{}, left: make(chan struct{}, 1),
	}
	var cancel context.CancelFunc
	r.broker = context.WithoutCancel(ctx)
	r.work, cancel = context.WithCancel(r.broker)
	defer cancel()
	stopExtending := r.extendEvery(extend)
	r.receive(ctx)
	grace := time.AfterFunc(cfg.DrainTimeout, cancel)
	r.lanesDone.Wait()
	grace.Stop()
	stopExtending()
	r.giveBack()
}

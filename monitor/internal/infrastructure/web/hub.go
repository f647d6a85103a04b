package web

import (
	"context"
	"sync"
)

// Hub passes on that something has changed, and not what. Notifications that a
// subscriber has not taken yet are one. It may be used from many goroutines.
type Hub struct {
	mu          sync.Mutex
	subscribers map[chan struct{}]struct{}
}

// NewHub returns a hub without subscribers.
func NewHub() *Hub { return &Hub{subscribers: map[chan struct{}]struct{}{}} }

// Notify tells every subscriber. It never blocks.
func (h *Hub) Notify() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.subscribers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Subscribe returns a channel that gets something after each Notify, until ctx
// ends. The channel is never closed.
func (h *Hub) Subscribe(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	h.subscribers[c] = struct{}{}
	h.mu.Unlock()
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subscribers, c)
	})
	return c
}

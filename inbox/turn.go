package inbox

import (
	"context"
	"fmt"
	"sync"
)

// turns let deliveries of the same key take turns. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	keys map[string]*turn
}

// turn is a key that is taken.
type turn struct {
	token chan struct{} // full while taken
	users int           // who has it or waits for it
}

// take waits until nobody else has the key, or ctx ends. release gives it back.
func (t *turns) take(ctx context.Context, key string) (release func(), err error) {
	t.mu.Lock()
	if t.keys == nil {
		t.keys = map[string]*turn{}
	}
	k := t.keys[key]
	if k == nil {
		k = &turn{token: make(chan struct{}, 1)}
		t.keys[key] = k
	}
	k.users++
	t.mu.Unlock()
	select {
	case k.token <- struct{}{}:
		return func() {
			<-k.token
			t.leave(key, k)
		}, nil
	case <-ctx.Done():
		t.leave(key, k)
		return nil, fmt.Errorf("inbox: waiting for another delivery: %w", context.Cause(ctx))
	}
}

func (t *turns) leave(key string, k *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(t.keys, key)
	}
}

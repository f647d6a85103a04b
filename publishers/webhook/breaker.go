package webhook

import (
	"sync"

	"github.com/uow-go/uow/relay"
)

// breaker tells a receiver that is away from a message that it does not like: when so many
// different messages in a row have failed in a way that is the receiver's as a whole, it is
// away, and each further failure is relay.Unavailable, by which the relay waits, and no
// message uses up its attempts. While it is away one request at a time finds out whether it
// is back.
type breaker struct {
	after int // negative: never

	mu      sync.Mutex
	failed  map[string]bool // ids, since something went well
	probing bool
}

// enter reports whether a request may be made. leave must follow then.
func (b *breaker) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open() {
		return true
	}
	if b.probing {
		return false
	}
	b.probing = true
	return true
}

// leave notes what became of a request of these messages, and tells what it means to the
// relay. Without ids it says nothing of the receiver.
func (b *breaker) leave(a *Attempt, ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch {
	case b.after < 0 || len(ids) == 0 || a.Result.Outcome == relay.NotTried:
	case !a.endpoint():
		clear(b.failed)
	default:
		for _, id := range ids {
			if !b.open() {
				b.failed[id] = true
			}
		}
		if b.open() {
			a.Result.Outcome = relay.Unavailable
		}
	}
}

func (b *breaker) open() bool { return b.after >= 0 && len(b.failed) >= b.after }

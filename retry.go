package uow

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/pause"
)

// ErrRetryable is what errors.Is finds in an error after which the same unit may
// succeed when it is run again: the server reported a serialization failure, a
// deadlock, or that it was busy; or a commit is known not to have happened since
// its connection ended.
var ErrRetryable = driver.ErrRetryable

// Retry says when DB.Do runs its closure again: after ErrRetryable, and after
// ErrConflict where asked, never after anything else and never after ErrInDoubt.
// Each attempt is a unit of its own: what the failed one tracked, recorded and
// registered is gone, and its AfterRollback hooks have run. What the closure itself
// did to the world is done again, so keep that out of it.
type Retry struct {
	// MaxAttempts is how often the closure runs at most. Default: 1, no retry.
	MaxAttempts int
	// Conflicts makes ErrConflict a reason too.
	Conflicts bool
	// MinBackoff is the longest pause before the second attempt; it doubles for
	// each further one up to MaxBackoff. The pause is random, between nothing and
	// that, and no transaction is open meanwhile. Defaults: 10ms and 1s.
	MinBackoff, MaxBackoff time.Duration
}

func (r Retry) withDefaults() Retry {
	r.MaxAttempts = max(r.MaxAttempts, 1)
	if r.MinBackoff <= 0 {
		r.MinBackoff = 10 * time.Millisecond
	}
	if r.MaxBackoff <= 0 {
		r.MaxBackoff = time.Second
	}
	r.MaxBackoff = max(r.MaxBackoff, r.MinBackoff)
	return r
}

// again reports whether an error is a reason for another attempt. When a hook
// failed after the rollback too, the world may not be as before.
func (r Retry) again(attempt int, err error) bool {
	if attempt >= r.MaxAttempts || errors.Is(err, ErrInDoubt) {
		return false
	}
	if _, failed := errors.AsType[*HookError](err); failed {
		return false
	}
	return errors.Is(err, ErrRetryable) || r.Conflicts && errors.Is(err, ErrConflict)
}

// pause waits before the next attempt. It returns false when ctx ends.
func (r Retry) pause(ctx context.Context, attempt int) bool {
	limit := r.MinBackoff << min(attempt-1, 20)
	if limit > r.MaxBackoff || limit <= 0 {
		limit = r.MaxBackoff
	}
	return pause.For(ctx, rand.N(limit+1)) == nil
}

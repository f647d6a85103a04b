// Package pause waits, unless there is nothing left to wait for.
package pause

import (
	"context"
	"time"
)

// For waits for a while. When ctx has ended it returns why, at once.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

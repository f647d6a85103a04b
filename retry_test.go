package uow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow"
)

var errBusy = fmt.Errorf("busy: %w", uow.ErrRetryable)

func TestBackoffIsCappedAndRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 200
		d := newDesk(t, uow.Config{Retry: uow.Retry{MaxAttempts: 8, MinBackoff: 10 * time.Millisecond, MaxBackoff: 200 * time.Millisecond}})
		limits := []time.Duration{10, 20, 40, 80, 160, 200, 200} // milliseconds
		longest, shortest := make([]time.Duration, len(limits)), make([]time.Duration, len(limits))
		for round := range rounds {
			var at []time.Time
			err := d.try(func(context.Context, *uow.Unit, *uow.Repository[note]) error {
				at = append(at, time.Now())
				return errBusy
			})
			if len(at) != 8 || err != errBusy { //nolint:errorlint // unchanged means the same value
				t.Fatalf("the closure ran %d times and said %v, want 8 times and the last error", len(at), err)
			}
			for i := range limits {
				pause := at[i+1].Sub(at[i])
				if longest[i] = max(longest[i], pause); round == 0 || pause < shortest[i] {
					shortest[i] = pause
				}
			}
		}
		for i, limit := range limits {
			limit *= time.Millisecond
			if longest[i] > limit || longest[i] < limit*8/10 || shortest[i] > limit*2/10 {
				t.Errorf("pause %d took from %v to %v, want all between 0 and %v", i+1, shortest[i], longest[i], limit)
			}
		}
	})
}

func TestBackoffDefaults(t *testing.T) {
	for name, c := range map[string]struct {
		retry    uow.Retry
		attempts int
		limit    time.Duration // of all pauses together
	}{
		"never by default":         {uow.Retry{}, 1, 0},
		"10ms and more by default": {uow.Retry{MaxAttempts: 4}, 4, 70 * time.Millisecond},
		"one second at most":       {uow.Retry{MaxAttempts: 40}, 40, 40 * time.Second},
		"a maximum below":          {uow.Retry{MaxAttempts: 3, MinBackoff: time.Minute, MaxBackoff: time.Second}, 3, 2 * time.Minute},
		"very many":                {uow.Retry{MaxAttempts: 100, MinBackoff: 1, MaxBackoff: time.Hour}, 100, 100 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, uow.Config{Retry: c.retry})
				runs, begin := 0, time.Now()
				err := d.try(func(context.Context, *uow.Unit, *uow.Repository[note]) error { runs++; return errBusy })
				if took := time.Since(begin); runs != c.attempts || took > c.limit || !errors.Is(err, uow.ErrRetryable) {
					t.Errorf("the closure ran %d times in %v, with %v, want %d in %v at most", runs, took, err, c.attempts, c.limit)
				}
			})
		})
	}
}

// The pause ends with the context, and no transaction is open during it.
func TestContextEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, uow.Config{Retry: uow.Retry{MaxAttempts: 5, MinBackoff: 1000 * time.Hour, MaxBackoff: 1000 * time.Hour}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		runs, rolledBack, begin := 0, 0, time.Now()
		err := d.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			runs++
			return errors.Join(d.notes.In(u).Add(&note{ID: "n"}), u.Flush(ctx), errBusy,
				u.AfterRollback(func(context.Context, error) error {
					rolledBack++
					if !time.Now().Equal(begin) {
						t.Error("the rollback waited for the pause")
					}
					return nil
				}))
		})
		if runs != 1 || rolledBack != 1 || !errors.Is(err, uow.ErrRetryable) || time.Since(begin) != time.Second {
			t.Errorf("the closure ran %d times, was rolled back %d times and failed with %v after %v, want once, once, the last error and 1s", runs, rolledBack, err, time.Since(begin))
		}
	})
}

func TestPanicIsNotRetried(t *testing.T) {
	d := newDesk(t, uow.Config{Retry: uow.Retry{MaxAttempts: 5, Conflicts: true}})
	runs := 0
	value := apart(func() {
		_ = d.try(func(context.Context, *uow.Unit, *uow.Repository[note]) error { runs++; panic(errBusy) })
	})
	if runs != 1 || value != errBusy { //nolint:errorlint // the very value
		t.Errorf("the closure ran %d times and panicked with %v", runs, value)
	}
}

func TestBoundUnitsAreRetried(t *testing.T) {
	d := newDesk(t, uow.Config{Retry: uow.Retry{MaxAttempts: 3, MinBackoff: time.Nanosecond, MaxBackoff: time.Nanosecond}})
	bound := uow.Bind(d.db, func(u *uow.Unit) string { return u.ID() })
	ids := map[string]bool{}
	err := bound.Do(t.Context(), func(_ context.Context, id string) error {
		if ids[id] = true; len(ids) < 3 {
			return errBusy
		}
		return nil
	})
	if err != nil || len(ids) != 3 {
		t.Errorf("got %v after units %v, want 3 units", err, ids)
	}
}

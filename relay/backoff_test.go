package relay

import (
	"math"
	"testing"
	"time"
)

func TestBackoffDelay(t *testing.T) {
	full := Backoff{Min: time.Second, Max: time.Minute}.withDefaults()
	none := Backoff{Min: time.Second, Max: time.Minute, Factor: 3, Jitter: -1}.withDefaults()
	for _, c := range []struct {
		backoff  Backoff
		attempts int
		random   float64
		want     time.Duration
	}{
		{full, 1, 0, time.Second},
		{full, 2, 0, 2 * time.Second},
		{full, 5, 0.5, 8 * time.Second},
		{full, 7, 0, time.Minute},
		{full, math.MaxInt, 0.25, 45 * time.Second},
		{full, 0, 0, time.Second},
		{none, 3, 0.9, 9 * time.Second},
	} {
		if got := c.backoff.delay(c.attempts, c.random); got != c.want {
			t.Errorf("%+v.delay(%d, %v) is %v, want %v", c.backoff, c.attempts, c.random, got, c.want)
		}
	}
	if (Backoff{}).withDefaults().validate() != nil {
		t.Error("the default Backoff is not valid")
	}
}

// The doc of Config.MaxAttempts says about how long the defaults last.
func TestDefaultAttemptsLastSevenHours(t *testing.T) {
	total := time.Duration(0)
	for attempt := 1; attempt < defaultMaxAttempts; attempt++ {
		total += Backoff{}.withDefaults().delay(attempt, 0.5)
	}
	if total < 7*time.Hour || total > 8*time.Hour {
		t.Errorf("the default attempts last %v on average", total)
	}
}

func TestReasonIsShortText(t *testing.T) {
	long := make([]byte, 2*maxReason)
	for i := range long {
		long[i] = 0xff
	}
	if got := reason(Result{Err: textError(long)}); len(got) > maxReason {
		t.Errorf("the reason has %d bytes, want %d at most", len(got), maxReason)
	}
	if got := reason(Result{Outcome: Retry}); got != "retry" {
		t.Errorf("the reason without an error is %q", got)
	}
}

type textError string

func (e textError) Error() string { return string(e) }

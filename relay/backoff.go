package relay

import (
	"math"
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait after an attempt that failed: Min after the
// first, Factor times more after each further one, Max at most, each shortened by
// chance.
type Backoff struct {
	// Min is the wait after the first attempt. Default: 500ms.
	Min time.Duration
	// Max is the longest wait. Default: 10m.
	Max time.Duration
	// Factor is by how much each wait is longer than the one before. Default: 2.
	Factor float64
	// Jitter is the share of the wait that chance decides: by 1 the wait is
	// anything between nothing and its full length, by 0.2 at least 80 % of it.
	// Default: 1, which spreads those that failed together best. Negative means
	// none.
	Jitter float64
}

// Resolve returns the Backoff with its defaults, or an ErrConfig. It is for what waits
// as a relay does.
func (b Backoff) Resolve() (Backoff, error) {
	b = b.withDefaults()
	return b, b.validate()
}

// Delay returns the wait after so many failed attempts, shortened by chance. The Backoff
// must be resolved.
func (b Backoff) Delay(attempts int) time.Duration { return b.delay(attempts, rand.Float64()) }

func (b Backoff) withDefaults() Backoff {
	if b.Min == 0 {
		b.Min = 500 * time.Millisecond
	}
	if b.Max == 0 {
		b.Max = max(10*time.Minute, b.Min)
	}
	if b.Factor == 0 {
		b.Factor = 2
	}
	if b.Jitter == 0 {
		b.Jitter = 1
	}
	return b
}

func (b Backoff) validate() error {
	switch {
	case b.Min < 0 || b.Max < b.Min:
		return configError("Backoff.Min is %v and Max %v: Min must be positive and at most Max", b.Min, b.Max)
	case math.IsNaN(b.Factor) || b.Factor < 1:
		return configError("Backoff.Factor is %v: it must be at least 1", b.Factor)
	case math.IsNaN(b.Jitter) || b.Jitter > 1:
		return configError("Backoff.Jitter is %v: it must be at most 1", b.Jitter)
	}
	return nil
}

// delay returns the wait after so many failed attempts. random is in [0, 1).
func (b Backoff) delay(attempts int, random float64) time.Duration {
	d := float64(b.Max)
	if grown := float64(b.Min) * math.Pow(b.Factor, float64(max(attempts, 1)-1)); grown < d {
		d = grown
	}
	return time.Duration(d * (1 - max(b.Jitter, 0)*random))
}

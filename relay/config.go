package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/uow-go/uow/outbox"
)

// ErrConfig is what errors.Is finds in errors of New.
var ErrConfig = errors.New("relay: wrong configuration")

// ErrRunning is returned by Run when the Relay is running already.
var ErrRunning = errors.New("relay: already running")

// ErrLeaseLost is what errors.Is finds in the error of Run after another relay
// has taken the cursor.
var ErrLeaseLost = outbox.ErrLeaseLost

// Config says what a relay publishes, where to, and how.
type Config struct {
	// Log is where the messages are: what outbox.Of returns. Required.
	Log outbox.Log
	// Publisher is where they go. Required.
	Publisher Publisher

	// Cursor names the relay's place in the log. Relays with different cursors
	// each publish all messages. Default: "default".
	Cursor string
	// Topics selects the messages with one of these topics. Default: all. A cursor
	// passes over what its relay does not select: a topic that is added later is
	// published from then on.
	Topics []string

	// BatchSize is the greatest number of messages in one Publish. Default: 256.
	BatchSize int
	// Retries is how many batches of held messages may be under way beside the one
	// that is new. Default: 4.
	Retries int

	// PollInterval is how often to look without having been woken: for messages
	// that other processes committed, held messages that an operator changed, and
	// whether the lease still stands. The relay jitters it. Default: 5s.
	PollInterval time.Duration
	// PublishTimeout bounds one call of Publish, and with it for how long a slow
	// key can hold up the others. Default: 30s.
	PublishTimeout time.Duration
	// DrainTimeout bounds how long Run waits for calls of Publish after its
	// context ended, and then for the log. Default: 10s.
	DrainTimeout time.Duration

	// Backoff is the wait before a message is tried again.
	Backoff Backoff
	// MaxAttempts is after how many failed attempts a message is parked. Negative
	// means never. Default: 100, which by the default Backoff takes about 7 hours.
	MaxAttempts int

	// Retention is for how long delivered messages are kept, to be replayed. All
	// relays of a log should have the same. Negative means for ever. Default: 7
	// days.
	Retention time.Duration

	// Logger gets what no caller can be told. Default: slog.Default().
	Logger *slog.Logger
	// Observer, when set, is told what becomes of each message.
	Observer Observer

	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Random returns numbers in [0, 1), for jitter, to the relay's goroutine.
	// Default: rand.Float64 of math/rand/v2.
	Random func() float64
}

const (
	defaultBatchSize   = 256
	defaultRetries     = 4
	defaultMaxAttempts = 100
	defaultRetention   = 7 * 24 * time.Hour
)

func (c Config) withDefaults() Config {
	c.Topics = slices.Clone(c.Topics)
	c.Backoff = c.Backoff.withDefaults()
	setDefault(&c.Cursor, "default")
	setDefault(&c.BatchSize, defaultBatchSize)
	setDefault(&c.Retries, defaultRetries)
	setDefault(&c.PollInterval, 5*time.Second)
	setDefault(&c.PublishTimeout, 30*time.Second)
	setDefault(&c.DrainTimeout, 10*time.Second)
	setDefault(&c.MaxAttempts, defaultMaxAttempts)
	setDefault(&c.Retention, defaultRetention)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Observer == nil {
		c.Observer = nopObserver{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate checks a Config that has its defaults.
func (c Config) validate() error {
	switch {
	case c.Log == nil:
		return configError("Log is missing")
	case c.Publisher == nil:
		return configError("Publisher is missing")
	case c.BatchSize < 0:
		return configError("BatchSize is %d", c.BatchSize)
	case c.Retries < 0:
		return configError("Retries is %d", c.Retries)
	case c.PollInterval < 0:
		return configError("PollInterval is %v", c.PollInterval)
	case c.PublishTimeout < 0:
		return configError("PublishTimeout is %v", c.PublishTimeout)
	case c.DrainTimeout < 0:
		return configError("DrainTimeout is %v", c.DrainTimeout)
	}
	return c.Backoff.validate()
}

func configError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
}

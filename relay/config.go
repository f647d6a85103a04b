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

// ErrLeaseLost is what errors.Is finds in the error of Run, with Config.TakeOver, after
// another relay has taken a partition.
var ErrLeaseLost = outbox.ErrLeaseLost

// ErrRestored is what errors.Is finds in the error of Run when the log is not the one
// that the relay has been reading, or is not where it has left it: the database was
// restored from a backup. outbox.ErrRestored says what to do.
var ErrRestored = outbox.ErrRestored

// ErrPartitions is what errors.Is finds in the error of Run when the cursor has another
// number of partitions than Config.Partitions: outbox.Repartition changes it.
var ErrPartitions = outbox.ErrPartitions

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

	// Partitions is how many parts the messages are spread over by their ordering
	// keys, those without a key by their id. Each is published by itself, in order, by
	// whichever of the relays that share the cursor has it. All relays of a cursor need
	// the same number (ErrPartitions), outbox.MaxPartitions at most; 16 is plenty for a
	// few relays. Default: 1, with which one relay works and the others stand by.
	Partitions int
	// Lease is within what time the partitions of a relay that has died, or was cut
	// off, are others', and a relay that is new has its share, counted by the
	// database's clock; a relay that is stopped hands over sooner. It must be longer
	// than the longest pause that should pass unnoticed. Default: 10s.
	Lease time.Duration
	// TakeOver has Run take all partitions at once, whoever has them, and end when
	// another relay takes one: the relay that was started last is the one that works.
	// It is for a process that knows by other means that it is alone, such as one that
	// has locked its data directory, and should not wait for the lease of its
	// predecessor that has crashed. Lease then means nothing. All relays of a cursor
	// should have the same. Default: false, relays share.
	TakeOver bool

	// BatchSize is the greatest number of messages in one Publish. Default: 256.
	BatchSize int
	// Pace is the least time between the beginnings of two batches that are not full: what is
	// committed meanwhile is published together, which costs the broker, the log and its
	// disk less where many units commit. A message that nothing has come before for so long
	// is not delayed, and neither is a backlog. Default: 0, none waits.
	Pace time.Duration
	// Retries is how many batches of held messages may be under way beside the one
	// that is new, in each partition. Default: 4.
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
	// relays of a log should have the same. Negative means for ever. Stores may keep
	// them for longer, see outbox.Log.Trim. Default: 7 days.
	Retention time.Duration

	// Logger gets what no caller can be told. Default: slog.Default().
	Logger *slog.Logger
	// Observer, when set, is told what becomes of each message.
	Observer Observer

	// Now is the clock. It is called from several goroutines. Default: time.Now.
	Now func() time.Time
	// Random returns numbers in [0, 1), for jitter, to one caller at a time.
	// Default: rand.Float64 of math/rand/v2.
	Random func() float64
}

const (
	defaultBatchSize   = 256
	defaultRetries     = 4
	defaultMaxAttempts = 100
	defaultRetention   = 7 * 24 * time.Hour
	minLease           = 100 * time.Millisecond
)

func (c Config) withDefaults() Config {
	c.Topics = slices.Clone(c.Topics)
	c.Backoff = c.Backoff.withDefaults()
	setDefault(&c.Cursor, "default")
	setDefault(&c.Partitions, 1)
	setDefault(&c.Lease, 10*time.Second)
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
	if c.Partitions > 1 {
		c.Random = oneAtATime(c.Random)
		c.Observer = &sharedObserver{to: c.Observer}
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
	case c.Partitions < 0 || c.Partitions > outbox.MaxPartitions:
		return configError("Partitions is %d: it must be 1 to %d", c.Partitions, outbox.MaxPartitions)
	case c.Lease < minLease:
		return configError("Lease is %v: it must be at least %v", c.Lease, minLease)
	case c.BatchSize < 0:
		return configError("BatchSize is %d", c.BatchSize)
	case c.Pace < 0:
		return configError("Pace is %v", c.Pace)
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

package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/uow-go/uow/relay"
)

// ErrConfig is what errors.Is finds in errors that are about a Config.
var ErrConfig = errors.New("consumer: wrong configuration")

// Config says how messages are handled, whichever broker brings them.
type Config struct {
	// Handle handles a message. When it returns nil, the message is acknowledged, so
	// what it did must be committed by then: the Handler of an inbox does that, and lets
	// each message take effect once. After any other error the message is tried again,
	// but for one of Refuse. A panic is an error. It is called from several goroutines,
	// for one message of a key at a time. Its context ends DrainTimeout after that of
	// Run. Required.
	Handle func(ctx context.Context, m Message) error

	// Concurrency is how many messages are being handled at once, each of another key, or
	// without a key. Default: 16.
	Concurrency int
	// Prefetch is how many messages are here at once, those included that wait for others
	// of their key, or to be tried again. When as many wait behind a message that fails,
	// nothing more is received until it is handled or refused. Default: 256.
	Prefetch int

	// Backoff is the wait before a message is tried again. The messages of its key wait
	// too, and no others.
	Backoff relay.Backoff
	// MaxAttempts is after how many failed attempts a message is refused. Attempts of
	// other processes count too where the broker tells of them, so that a message which
	// kills its process is refused in the end. Negative means never. Default: 100,
	// which by the default Backoff takes about 7 hours.
	MaxAttempts int

	// DrainTimeout bounds how long handlers may go on when Run's context has ended; then
	// theirs ends. Run waits for them. Default: 10s.
	DrainTimeout time.Duration

	// Logger gets what no caller can be told. Default: slog.Default().
	Logger *slog.Logger
	// Observer, when set, is told what becomes of each message.
	Observer Observer
}

// Observer is told what becomes of messages, from several goroutines. It must not block.
type Observer interface {
	// Handled tells of a message that was handled and acknowledged, and of how long its
	// handler took.
	Handled(m Message, took time.Duration)
	// Failed tells of an attempt that failed, and will be made again.
	Failed(m Message, err error)
	// Refused tells of a message that is where refused messages go; or that has no such
	// place and is kept, to be tried again, when kept is set. A malformed message has
	// no fields but its payload.
	Refused(m Message, reason error, kept bool)
}

type nopObserver struct{}

func (nopObserver) Handled(Message, time.Duration) {}
func (nopObserver) Failed(Message, error)          {}
func (nopObserver) Refused(Message, error, bool)   {}

// Resolve returns the Config with its defaults, or an ErrConfig. The consumers of
// brokers call it.
func (c Config) Resolve() (Config, error) {
	switch {
	case c.Handle == nil:
		return c, configError("Handle is missing")
	case c.Concurrency < 0 || c.Prefetch < 0 || c.DrainTimeout < 0:
		return c, configError("Concurrency, Prefetch and DrainTimeout can't be negative")
	}
	setDefault(&c.Concurrency, 16)
	setDefault(&c.Prefetch, 256)
	setDefault(&c.MaxAttempts, 100)
	setDefault(&c.DrainTimeout, 10*time.Second)
	var err error
	if c.Backoff, err = c.Backoff.Resolve(); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if c.Prefetch < c.Concurrency {
		return c, configError("Prefetch is %d, and Concurrency %d: that many would never be handled at once", c.Prefetch, c.Concurrency)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Observer == nil {
		c.Observer = nopObserver{}
	}
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func configError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
}

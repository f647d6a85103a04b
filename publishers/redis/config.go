package redis

import (
	"errors"
	"fmt"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// ErrConfig is what errors.Is finds in errors of New that are about its Config, or
// about a server that is not set as the Config demands.
var ErrConfig = errors.New("redis: wrong configuration")

// Durability is what a confirmation means.
type Durability uint8

// The durabilities.
const (
	// Synced: the message is in the append-only file, which was synced.
	Synced Durability = iota
	// EverySecond: the message is synced within a second or so.
	EverySecond
	// InMemory: the message is in the server's memory.
	InMemory
)

// String returns the durability's name.
func (d Durability) String() string {
	switch d {
	case Synced:
		return "synced"
	case EverySecond:
		return "every second"
	case InMemory:
		return "in memory"
	}
	return fmt.Sprintf("durability(%d)", uint8(d))
}

// Config says where to publish, and how.
type Config struct {
	// Options are those of the client: the address, credentials, TLS and the like.
	// What has to do with repetitions and time limits is the publisher's own.
	Options client.Options

	// Stream returns a message's stream. Default: its topic.
	Stream func(m outbox.Message) string
	// Source is the CloudEvents attribute that tells which system the events are of:
	// a URI reference, such as "/orders". Required.
	Source string

	// Durability is what a confirmation means. Default: Synced.
	Durability Durability
	// Replicas is how many replicas must have a message too. Default: 0.
	Replicas int
	// Window is how long ids are remembered. Default: 24h.
	Window time.Duration
	// MaxLen trims streams to about so many entries, whether they have been read or
	// not. Default: 0, streams are not trimmed.
	MaxLen int64
	// MaxPayload is the largest payload, in bytes, that is sent. It must not be more
	// than the server takes (proto-max-bulk-len, 512 MiB). Default: 16 MiB.
	MaxPayload int
	// Timeout bounds connecting, and waiting for replicas. Default: 5s.
	Timeout time.Duration
}

func (c Config) resolve() (Config, error) {
	switch {
	case !cloudevents.ValidSource(c.Source):
		return c, configError("Source %q is not a URI reference", c.Source)
	case c.Durability > InMemory:
		return c, configError("Durability is none of Synced, EverySecond and InMemory")
	case c.Replicas < 0 || c.Window < 0 || c.MaxLen < 0 || c.MaxPayload < 0 || c.Timeout < 0:
		return c, configError("Replicas, Window, MaxLen, MaxPayload and Timeout can't be negative")
	case c.Window > 0 && c.Window < time.Millisecond:
		return c, configError("Window is less than a millisecond")
	}
	if c.Stream == nil {
		c.Stream = func(m outbox.Message) string { return m.Topic }
	}
	if c.Window == 0 {
		c.Window = 24 * time.Hour
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = 16 << 20
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return c, nil
}

func configError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

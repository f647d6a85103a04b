package redis

import (
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/uow-go/uow/consumer"
)

// ConsumerConfig says what to consume, and how.
type ConsumerConfig struct {
	// Config says how messages are handled.
	consumer.Config

	// Options are those of the client, as in Config.
	Options client.Options

	// Stream is the stream. Required.
	Stream string
	// Group is the consumer group. It is created when it is not there, and begins with
	// the stream's first entry then. Required.
	Group string
	// Name is the consumer's name in the group. It should be the same when the process is
	// started again: the server keeps each name for ever. Required with Shared.
	// Default: "uow".
	Name string
	// Shared says that several processes consume at once, each by a Name of its own.
	// Without it this process takes whatever any of the group has received and not
	// acknowledged, at once, before what is newer.
	Shared bool
	// ClaimIdle is, with Shared, after how long the entries of a process that has died are
	// taken by others. While entries are here the server is told that they are not idle.
	// All processes should have the same. At least 100ms. Default: 30s.
	ClaimIdle time.Duration

	// DeadStream is the stream to which refused messages are added. Default: none, they
	// are kept.
	DeadStream string
	// Timeout bounds connecting, and each command. Default: 5s.
	Timeout time.Duration
}

func (c ConsumerConfig) resolve() (ConsumerConfig, error) {
	var err error
	if c.Config, err = c.Config.Resolve(); err != nil {
		return c, configError("%w", err)
	}
	switch {
	case c.Stream == "":
		return c, configError("Stream is missing")
	case c.Group == "":
		return c, configError("Group is missing")
	case c.Shared && c.Name == "":
		return c, configError("Name is missing: with Shared each process needs one of its own")
	case c.ClaimIdle < 0 || c.Timeout < 0:
		return c, configError("ClaimIdle and Timeout can't be negative")
	case c.ClaimIdle > 0 && c.ClaimIdle < 100*time.Millisecond:
		return c, configError("ClaimIdle is %v: it must be at least 100ms", c.ClaimIdle)
	case c.DeadStream == c.Stream:
		return c, configError("DeadStream is the stream itself: what is refused would come again")
	}
	if c.Name == "" {
		c.Name = "uow"
	}
	if c.ClaimIdle == 0 {
		c.ClaimIdle = 30 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return c, nil
}

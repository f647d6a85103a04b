package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	client "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/uow-go/uow/consumer"
)

// Consumer handles the entries of a stream as one of a consumer group, with connections of
// its own.
type Consumer struct {
	runner *consumer.Runner
	source *source
}

// NewConsumer connects, and creates the group where there is none. Errors are ErrConfig,
// or tell what the server said. The caller must Close it.
func NewConsumer(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	s := newSource(cfg)
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	if err := s.open(ctx); err != nil {
		_ = s.client.Close()
		return nil, err
	}
	extend := time.Duration(0)
	if cfg.Shared {
		extend = cfg.ClaimIdle / 3
	}
	return &Consumer{source: s, runner: consumer.NewRunner(cfg.Config, s, extend)}, nil
}

// Run handles messages until ctx ends, or Close. Then it begins nothing new, lets handlers
// finish, gives back the rest, and returns nil. While the server can't be reached it
// waits for it. It returns an error only when it is running already, or closed.
func (c *Consumer) Run(ctx context.Context) error { return c.runner.Run(ctx) }

// Close ends Run as its context does, and the connections. It may be called again.
func (c *Consumer) Close() error {
	c.runner.Close()
	if err := c.source.client.Close(); err != nil && !errors.Is(err, client.ErrClosed) {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

func newSource(cfg ConsumerConfig) *source {
	options := cfg.Options
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = cfg.Timeout, cfg.Timeout, cfg.Timeout
	options.ContextTimeoutEnabled = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &source{cfg: cfg, client: client.NewClient(&options), held: map[string]bool{}}
}

// open creates the group, and looks at the place for what is refused.
func (s *source) open(ctx context.Context) error {
	if err := s.createGroup(ctx); err != nil {
		return err
	}
	if s.cfg.DeadStream == "" {
		return nil
	}
	kind, err := s.client.Type(ctx, s.cfg.DeadStream).Result()
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if kind != "none" && kind != "stream" {
		return configError("DeadStream %q is a %s", s.cfg.DeadStream, kind)
	}
	return nil
}

func (s *source) createGroup(ctx context.Context) error {
	err := s.client.XGroupCreateMkStream(ctx, s.cfg.Stream, s.cfg.Group, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return fmt.Errorf("redis: group %s of stream %s: %w", s.cfg.Group, s.cfg.Stream, err)
	}
	return nil
}

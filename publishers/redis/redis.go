package redis

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	client "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

//go:embed script.lua
var script string

// What one script takes at most. The server does nothing else while it runs.
const (
	maxBatch      = 256
	maxBatchBytes = 4 << 20
)

// Publisher is a relay.Publisher to the streams of one server, with connections of its
// own. It may be used from many goroutines.
type Publisher struct {
	cfg    Config
	client *client.Client

	mu      sync.Mutex
	closed  bool
	closing context.Context
	close   context.CancelFunc
	senders sync.WaitGroup
}

// New connects, and checks that the server is as durable as the Config demands. Errors
// are ErrConfig, or tell that the server can't be reached. The caller must Close the
// publisher.
func New(ctx context.Context, cfg Config) (*Publisher, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	p := &Publisher{cfg: cfg}
	p.closing, p.close = context.WithCancel(context.Background())
	p.client = client.NewClient(p.options())
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	if err := p.client.Ping(ctx).Err(); err != nil {
		_ = p.Close()
		if errors.Is(err, ErrConfig) {
			return nil, err
		}
		return nil, fmt.Errorf("redis: connect: %w", err)
	}
	return p, nil
}

// options are the client's. It must not repeat what it has sent, nor go on after Close.
func (p *Publisher) options() *client.Options {
	options := p.cfg.Options
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.DialTimeout = p.cfg.Timeout
	options.ReadTimeout = 2 * p.cfg.Timeout // WAIT takes one
	options.WriteTimeout = p.cfg.Timeout
	options.ContextTimeoutEnabled = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	dial, onConnect := options.Dialer, options.OnConnect
	if dial == nil {
		dial = client.NewDialer(&options)
	}
	options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, notSentError{err}
		}
		return conn, nil
	}
	options.OnConnect = func(ctx context.Context, conn *client.Conn) error {
		if onConnect != nil {
			if err := onConnect(ctx, conn); err != nil {
				return notSentError{err}
			}
		}
		if err := p.cfg.checkServer(ctx, conn); err != nil {
			return notSentError{err}
		}
		return nil
	}
	return &options
}

// notSentError is about messages that were certainly not sent.
type notSentError struct{ error }

func (e notSentError) Unwrap() error { return e.error }

// checkServer demands that the server is set as durably as it should be.
func (c Config) checkServer(ctx context.Context, conn *client.Conn) error {
	if c.Durability == InMemory {
		return nil
	}
	settings := map[string]string{}
	for _, name := range []string{"appendonly", "appendfsync", "maxmemory-policy"} {
		got, err := conn.ConfigGet(ctx, name).Result()
		var refused client.Error
		if errors.As(err, &refused) {
			return configError("the server does not show its setting %s (%v): Durability %v can't be checked", name, err, c.Durability)
		}
		if err != nil {
			return err
		}
		settings[name] = got[name]
	}
	switch {
	case strings.HasPrefix(settings["maxmemory-policy"], "allkeys-"):
		return configError("the server has maxmemory-policy %s: it drops streams when it is short of memory, and Durability is %v", settings["maxmemory-policy"], c.Durability)
	case settings["appendonly"] != "yes":
		return configError("the server has appendonly %s: what it confirms is %v, and Durability is %v", settings["appendonly"], InMemory, c.Durability)
	case settings["appendfsync"] == "no":
		return configError("the server has appendfsync no: the system syncs when it likes, and Durability is %v", c.Durability)
	case c.Durability == Synced && settings["appendfsync"] != "always":
		return configError("the server has appendfsync %s: what it confirms is synced %v, and Durability is %v", settings["appendfsync"], EverySecond, c.Durability)
	}
	return nil
}

// Close ends what is under way and the connections. It may be called again.
func (p *Publisher) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	p.close()
	if !closed {
		_ = p.client.Close()
	}
	p.senders.Wait()
	return nil
}

// Publish implements relay.Publisher.
func (p *Publisher) Publish(ctx context.Context, batch []outbox.Message) []relay.Result {
	c := &call{p: p, ctx: ctx, batch: batch, results: make([]relay.Result, len(batch)), stopped: map[string]bool{}}
	for i, m := range batch {
		if m.Key != "" && c.stopped[m.Key] {
			c.results[i] = relay.Result{Outcome: relay.NotTried}
			continue
		}
		stream, fields, err := p.encode(m)
		if err != nil {
			c.set(i, relay.Result{Outcome: relay.Refused, Err: err})
			continue
		}
		if len(c.places) == maxBatch || c.bytes+len(m.Payload) > maxBatchBytes {
			c.flush()
		}
		c.add(i, stream, fields)
	}
	c.flush()
	return c.results
}

// exchange runs the script and, where asked, waits for replicas. It returns when ctx
// ends, although the client does not.
func (p *Publisher) exchange(ctx context.Context, keys []string, args []any) (outcomes []string, replicas int64, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, 0, notSentError{client.ErrClosed}
	}
	p.senders.Add(1)
	p.mu.Unlock()
	type result struct {
		outcomes []string
		replicas int64
		err      error
	}
	done := make(chan result, 1)
	go func() {
		defer p.senders.Done()
		var r result
		r.outcomes, r.replicas, r.err = p.run(ctx, keys, args)
		done <- r
	}()
	select {
	case r := <-done:
		return r.outcomes, r.replicas, r.err
	case <-p.closing.Done():
		return nil, 0, client.ErrClosed
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

// run sends both commands by one connection, as WAIT is about what that has written.
func (p *Publisher) run(ctx context.Context, keys []string, args []any) ([]string, int64, error) {
	if p.cfg.Replicas == 0 {
		outcomes, err := p.client.Eval(ctx, script, keys, args...).StringSlice()
		return outcomes, 0, err
	}
	pipe := p.client.Pipeline()
	run := pipe.Eval(ctx, script, keys, args...)
	wait := pipe.Do(ctx, "WAIT", p.cfg.Replicas, p.cfg.Timeout.Milliseconds())
	_, _ = pipe.Exec(ctx)
	outcomes, err := run.StringSlice()
	if err != nil {
		return nil, 0, err
	}
	replicas, err := wait.Int64()
	return outcomes, replicas, err
}

// window is in milliseconds.
func (c Config) window() int64 { return int64(c.Window / time.Millisecond) }

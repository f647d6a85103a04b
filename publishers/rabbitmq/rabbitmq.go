package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// Publisher is a relay.Publisher to one exchange, with a connection of its own. It may
// be used from many goroutines.
type Publisher struct {
	cfg Config
	// turn is held, by having put something into it, to look at or open the session.
	turn    chan struct{}
	session *session
	closing context.Context // ends with Close
	close   context.CancelFunc
}

var errClosed = errors.New("rabbitmq: the publisher is closed")

// New connects, checks the exchange, and declares the queue where asked. Errors are
// ErrConfig, or tell what the broker said. The caller must Close the publisher.
func New(ctx context.Context, cfg Config) (*Publisher, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	return newPublisher(ctx, cfg)
}

// newPublisher makes one of a Config that is resolved.
func newPublisher(ctx context.Context, cfg Config) (*Publisher, error) {
	p := &Publisher{cfg: cfg, turn: make(chan struct{}, 1)}
	p.closing, p.close = context.WithCancel(context.Background())
	if _, err := p.open(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// Close ends what is under way and the connection. It may be called again.
func (p *Publisher) Close() error {
	p.close()
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if p.session != nil {
		p.session.end(errClosed)
		p.session.done.Wait()
	}
	return nil
}

// open returns the session, a new one when there is none that works.
func (p *Publisher) open(ctx context.Context) (*session, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.closing.Err() != nil {
		return nil, errClosed
	}
	if p.session != nil {
		if p.session.ended.Err() == nil {
			return p.session, nil
		}
		p.session.done.Wait()
		p.session = nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	stop := context.AfterFunc(p.closing, cancel)
	defer stop()
	s, err := dial(ctx, p.cfg)
	p.session = s
	return s, err
}

// Publish implements relay.Publisher.
func (p *Publisher) Publish(ctx context.Context, batch []outbox.Message) []relay.Result {
	results := make([]relay.Result, len(batch))
	if len(batch) == 0 {
		return results
	}
	s, err := p.open(ctx)
	if err != nil {
		r := relay.Result{Outcome: relay.Unavailable, Err: err}
		if ctx.Err() != nil {
			r = relay.Result{Outcome: relay.NotTried, Err: fmt.Errorf("rabbitmq: %w", ctx.Err())}
		}
		for i := range results {
			results[i] = r
		}
		return results
	}
	return relay.Each(func(ctx context.Context, m outbox.Message) relay.Result {
		return p.publishOne(ctx, s, m)
	}, p.cfg.Concurrency).Publish(ctx, batch)
}

func (p *Publisher) publishOne(ctx context.Context, s *session, m outbox.Message) relay.Result {
	key, encoded, err := p.encode(m)
	if err != nil {
		return relay.Result{Outcome: relay.Refused, Err: err}
	}
	return p.send(ctx, s, key, encoded)
}

// send publishes what is encoded and waits for the broker's answer.
func (p *Publisher) send(ctx context.Context, s *session, key string, encoded amqp.Publishing) relay.Result {
	if s.blocked.Load() {
		return relay.Result{Outcome: relay.Unavailable, Err: errors.New("rabbitmq: the broker has blocked its publishers: it is short of memory or disk space")}
	}
	d := &delivery{key: key, message: encoded, answered: make(chan struct{})}
	select {
	case s.queue <- d:
	case <-s.ended.Done():
		return relay.Result{Outcome: relay.Unavailable, Err: s.cause()}
	case <-ctx.Done():
		return relay.Result{Outcome: relay.NotTried, Err: fmt.Errorf("rabbitmq: %w", ctx.Err())}
	}
	var err error
	select {
	case <-d.answered:
		return p.classify(d)
	case <-s.ended.Done():
		err = s.cause()
	case <-ctx.Done():
		err = fmt.Errorf("rabbitmq: %w", ctx.Err())
	}
	select {
	case <-d.answered: // it may have come at the same time
		return p.classify(d)
	default:
		return relay.Result{Outcome: relay.Unknown, Err: err}
	}
}

// classify says what an answer means.
func (p *Publisher) classify(d *delivery) relay.Result {
	switch {
	case d.notSent:
		return relay.Result{Outcome: relay.Unavailable, Err: d.failed}
	case d.failed != nil:
		return relay.Result{Outcome: relay.Unknown, Err: d.failed}
	case d.returned != "":
		r := relay.Result{Outcome: relay.Retry, Err: fmt.Errorf("rabbitmq: the exchange %q returned the message: %s (routing key %q)", p.cfg.Exchange, d.returned, d.key)}
		if p.cfg.RefuseUnroutable {
			r.Outcome = relay.Refused
		}
		return r
	case !d.ack:
		return relay.Result{Outcome: relay.Retry, Err: errors.New("rabbitmq: the broker rejected the message (nack): a queue is full, or has failed")}
	}
	return relay.Result{Outcome: relay.Stored}
}

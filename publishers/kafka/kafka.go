package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// Publisher is a relay.Publisher to the topics of a cluster, with a client of its own.
// It may be used from many goroutines.
type Publisher struct {
	cfg    Config
	client *kgo.Client

	mu      sync.Mutex
	outage  context.Context // ends when no broker can be reached
	begin   context.CancelCauseFunc
	suspect bool // a connection has failed since brokers were last reached
	asking  bool
	closed  bool
	tasks   sync.WaitGroup
}

var errClosed = errors.New("kafka: the publisher is closed")

// New makes a client and asks whether a broker can be reached. Errors are ErrConfig, or
// tell that none can be. The caller must Close the publisher.
func New(ctx context.Context, cfg Config) (*Publisher, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	p := &Publisher{cfg: cfg}
	p.outage, p.begin = context.WithCancelCause(context.Background())
	options := append(append([]kgo.Opt{kgo.ClientID("uow")}, cfg.Options...),
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(cfg.MaxBatchBytes),
		kgo.ProducerLinger(0),
		kgo.UnknownTopicRetries(1),
		kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryBackoffFn(func(tries int) time.Duration { return min(time.Duration(tries)*50*time.Millisecond, time.Second) }),
		kgo.WithHooks(p),
	)
	if p.client, err = kgo.NewClient(options...); err != nil {
		return nil, configError("%v", err)
	}
	if err := p.ping(ctx); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// Close ends what is under way and the connections. It may be called again.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.begin(errClosed)
	p.mu.Unlock()
	p.client.Close()
	p.tasks.Wait()
	return nil
}

// ping asks whether a broker can be reached.
func (p *Publisher) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	if err := p.client.Ping(ctx); err != nil {
		return fmt.Errorf("kafka: no broker can be reached: %w", err)
	}
	return nil
}

// OnBrokerConnect is a hook of the client's. It asks for the others when a broker can't
// be reached.
func (p *Publisher) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil || p.closed || p.asking {
		return
	}
	p.suspect, p.asking = true, true
	p.tasks.Go(func() {
		err := p.ping(context.Background())
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asking, p.suspect = false, err != nil
		if err != nil && !p.closed {
			p.begin(err)
			p.outage, p.begin = context.WithCancelCause(context.Background())
		}
	})
}

// state returns what ends with the next outage, or an error when there is one.
func (p *Publisher) state(ctx context.Context) (outage context.Context, err error) {
	p.mu.Lock()
	outage, suspect, closed := p.outage, p.suspect, p.closed
	p.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	if !suspect {
		return outage, nil
	}
	if err := p.ping(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspect = false
	return p.outage, nil
}

// Publish implements relay.Publisher.
func (p *Publisher) Publish(ctx context.Context, batch []outbox.Message) []relay.Result {
	outage, err := p.state(ctx)
	if err != nil {
		r := relay.Result{Outcome: relay.Unavailable, Err: err}
		if ctx.Err() != nil {
			r.Outcome = relay.NotTried
		}
		results := make([]relay.Result, len(batch))
		for i := range results {
			results[i] = r
		}
		return results
	}
	return relay.Each(func(ctx context.Context, m outbox.Message) relay.Result {
		return p.publishOne(ctx, outage, m)
	}, p.cfg.Concurrency).Publish(ctx, batch)
}

// grace is how long to wait for what the client says of a record whose context has
// ended: that it was not sent, often.
const grace = 200 * time.Millisecond

func (p *Publisher) publishOne(ctx, outage context.Context, m outbox.Message) relay.Result {
	record, err := p.encode(m)
	if err != nil {
		return relay.Result{Outcome: relay.Refused, Err: err}
	}
	if outage.Err() != nil {
		return relay.Result{Outcome: relay.Unavailable, Err: context.Cause(outage)}
	}
	recordCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	p.client.Produce(recordCtx, record, func(_ *kgo.Record, err error) { done <- err })
	select {
	case err := <-done:
		return p.classify(err, relay.NotTried)
	case <-ctx.Done():
		return p.abandon(cancel, done, relay.NotTried, fmt.Errorf("kafka: %w", ctx.Err()))
	case <-outage.Done():
		return p.abandon(cancel, done, relay.Unavailable, context.Cause(outage))
	}
}

// abandon gives a record up. The client forgets it, and says so, when it was not sent.
func (p *Publisher) abandon(cancel func(), done <-chan error, notSent relay.Outcome, cause error) relay.Result {
	cancel()
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case err := <-done:
		return p.classify(err, notSent)
	case <-late.C:
		return relay.Result{Outcome: relay.Unknown, Err: cause}
	}
}

// classify says what the client's word on a record means. An idempotent producer fails
// a record for its context only when it was not sent.
func (p *Publisher) classify(err error, notSent relay.Outcome) relay.Result {
	if err == nil {
		return relay.Result{Outcome: relay.Stored}
	}
	r := relay.Result{Outcome: relay.Unknown, Err: fmt.Errorf("kafka: %w", err)}
	var answered *kerr.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		r.Outcome = notSent
	case errors.Is(err, kerr.OutOfOrderSequenceNumber), errors.Is(err, kerr.UnknownProducerID),
		errors.Is(err, kerr.NotEnoughReplicasAfterAppend), errors.Is(err, kerr.RequestTimedOut):
	case errors.As(err, &answered):
		r.Outcome = relay.Retry
	}
	return r
}

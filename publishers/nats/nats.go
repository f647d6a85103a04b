package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// Publisher is a relay.Publisher to one stream, with a connection of its own. It may
// be used from many goroutines.
type Publisher struct {
	cfg    Config
	conn   *client.Conn
	js     jetstream.JetStream
	atomic bool
	// names are those of attributes, as headers.
	names map[string]string
	// inbox begins the reply subjects of messages that are published one by one, and
	// usual the stream's answers to them.
	inbox string
	usual []byte

	fence fence // where Config has one

	// subjects are the stream's, to tell a wrong subject from an absent server.
	subjects atomic.Pointer[[]string]

	mu      sync.Mutex
	link    context.Context // ends when the connection breaks
	broken  context.CancelFunc
	closed  bool
	senders sync.WaitGroup
	calls   uint64               // how many there were
	waiting map[string]*pipeline // those that are under way
}

// New connects, and checks the stream. Errors are ErrConfig, or tell that the servers
// can't be reached or don't answer. The caller must Close the publisher.
func New(ctx context.Context, cfg Config) (*Publisher, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	p := &Publisher{cfg: cfg, names: attributeNames(), usual: usualAnswer(cfg.Stream), waiting: map[string]*pipeline{},
		fence: fence{turn: make(chan struct{}, 1)}}
	p.link, p.broken = context.WithCancel(context.Background())
	if p.conn, err = connect(cfg.URL, cfg.Options, cfg.Timeout, p.breakLink); err != nil {
		return nil, err
	}
	if err := p.open(ctx); err != nil {
		p.conn.Close()
		return nil, err
	}
	return p, nil
}

// connect opens a connection that comes back by itself and keeps nothing to be sent later.
// lost is called when it breaks.
func connect(url string, options []client.Option, timeout time.Duration, lost func()) (*client.Conn, error) {
	conn, err := client.Connect(url, append(append([]client.Option{client.Name("uow")}, options...),
		client.MaxReconnects(-1),
		client.ReconnectWait(100*time.Millisecond),
		client.ReconnectBufSize(-1), // what it keeps would be sent after what comes later
		client.Timeout(timeout),
		client.FlusherTimeout(timeout),
		client.PingInterval(10*time.Second),
		client.DisconnectErrHandler(func(*client.Conn, error) { lost() }),
		client.ClosedHandler(func(*client.Conn) { lost() }),
		client.ErrorHandler(func(*client.Conn, *client.Subscription, error) {}), // else it writes to stderr
	)...)
	if err != nil {
		return nil, fmt.Errorf("nats: connect: %w", err) // its text has no URL
	}
	return conn, nil
}

func (p *Publisher) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	var err error
	if p.js, err = jetstream.New(p.conn); err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	stream, err := p.cfg.openStream(ctx, p.js)
	if err != nil {
		return err
	}
	p.inbox = p.conn.NewInbox() + "."
	if _, err := p.conn.Subscribe(p.inbox+"*.*", p.receive); err != nil {
		return fmt.Errorf("nats: subscribe to answers: %w", err)
	}
	config := stream.CachedInfo().Config
	p.atomic = config.AllowAtomicPublish
	p.fence.last, p.fence.known = stream.CachedInfo().State.LastSeq, true
	p.subjects.Store(&config.Subjects)
	return nil
}

// Close ends what is under way and the connection. It may be called again.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.conn.Close()
	p.breakLink()
	p.senders.Wait()
	return nil
}

// breakLink ends what waits for an answer that can't come any more.
func (p *Publisher) breakLink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken()
	p.link, p.broken = context.WithCancel(context.Background())
	if p.closed {
		p.broken()
	}
}

// Publish implements relay.Publisher.
func (p *Publisher) Publish(ctx context.Context, batch []outbox.Message) []relay.Result {
	switch {
	case p.cfg.Fence:
		return p.publishFenced(ctx, batch)
	case p.atomic && len(batch) > 1:
		return p.publishAtomically(ctx, batch)
	}
	return p.publishSingly(ctx, batch)
}

// notSentError is about messages that were certainly not sent.
type notSentError struct{ error }

func (e notSentError) Unwrap() error { return e.error }

// exchange sends messages and returns the answer to the last one. It returns when ctx
// ends or the connection breaks, although the client may hang in a write until
// Timeout.
func (p *Publisher) exchange(ctx context.Context, all []*client.Msg) (*client.Msg, error) {
	p.mu.Lock()
	link := p.link
	if p.closed {
		p.mu.Unlock()
		return nil, notSentError{client.ErrConnectionClosed}
	}
	p.senders.Add(1)
	p.mu.Unlock()
	if !p.conn.IsConnected() {
		p.senders.Done()
		return nil, notSentError{errNotConnected}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(link, cancel)
	type result struct {
		answer *client.Msg
		err    error
	}
	done := make(chan result, 1)
	go func() {
		defer p.senders.Done()
		answer, err := p.send(ctx, all)
		done <- result{answer, err}
	}()
	defer cancel()
	defer stop()
	select {
	case r := <-done:
		return r.answer, r.err
	case <-ctx.Done():
		if link.Err() != nil {
			return nil, errBroken
		}
		return nil, ctx.Err()
	}
}

var (
	errNotConnected = errors.New("not connected")
	errBroken       = errors.New("the connection broke before the answer came")
)

func (p *Publisher) send(ctx context.Context, all []*client.Msg) (*client.Msg, error) {
	last := len(all) - 1
	for i, m := range all[:last] {
		if err := p.conn.PublishMsg(m); err != nil {
			if i == 0 && neverSent(err) {
				err = notSentError{err}
			}
			return nil, err
		}
	}
	answer, err := p.conn.RequestMsgWithContext(ctx, all[last])
	if err != nil && last == 0 && neverSent(err) {
		err = notSentError{err}
	}
	return answer, err
}

// neverSent reports whether an error of the client means that it has not begun to
// send. A connection that is closed may have sent before.
func neverSent(err error) bool {
	for _, known := range []error{
		client.ErrReconnectBufExceeded, client.ErrMaxPayload, client.ErrBadSubject, client.ErrHeadersNotSupported,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

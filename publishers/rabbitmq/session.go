package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// session is one connection with one channel, from its opening to its end. Two
// goroutines work for it: one writes, since a write can't be interrupted, and one
// reads what the broker says of messages.
type session struct {
	conn     *amqp.Connection
	channel  *amqp.Channel
	exchange string
	queue    chan *delivery
	blocked  atomic.Bool
	done     sync.WaitGroup

	ended context.Context
	fail  context.CancelCauseFunc

	mu      sync.Mutex
	pending map[uint64]*delivery // by delivery tag
	byID    map[string]*delivery // of these, the last with an id
}

// delivery is a message on its way.
type delivery struct {
	key      string
	message  amqp.Publishing
	answered chan struct{} // closed when the rest is known

	ack      bool
	returned string
	failed   error
	notSent  bool // it failed before it was sent
}

// connect opens a connection. Errors have no secrets: those of the client don't. As long as
// keep was not called, the connection ends with ctx; it reports whether it has not.
func connect(ctx context.Context, url string, tls *tls.Config, timeout time.Duration) (conn *amqp.Connection, keep func() bool, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	keep = func() bool { return true }
	conn, err = amqp.DialConfig(url, amqp.Config{
		TLSClientConfig: tls,
		Heartbeat:       5 * time.Second,
		Dial: func(network, address string) (net.Conn, error) {
			var dialer net.Dialer
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			keep = context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
			return c, c.SetDeadline(time.Now().Add(timeout)) // of the handshake
		},
	})
	if err != nil {
		keep()
		return nil, nil, fmt.Errorf("rabbitmq: connect: %w", err)
	}
	return conn, keep, nil
}

// dial opens a session.
func dial(ctx context.Context, cfg Config) (*session, error) {
	conn, keep, err := connect(ctx, cfg.URL, cfg.TLS, cfg.Timeout)
	if err != nil {
		return nil, err
	}
	s := &session{
		conn: conn, exchange: cfg.Exchange, queue: make(chan *delivery),
		pending: map[uint64]*delivery{}, byID: map[string]*delivery{},
	}
	s.ended, s.fail = context.WithCancelCause(context.Background())
	err = s.start(cfg)
	if !keep() && err == nil {
		err = fmt.Errorf("rabbitmq: connect: %w", ctx.Err())
	}
	if err != nil {
		s.end(err)
		s.done.Wait()
		return nil, err
	}
	return s, nil
}

func (s *session) start(cfg Config) (err error) {
	closed := s.conn.NotifyClose(make(chan *amqp.Error, 1))
	blocked := s.conn.NotifyBlocked(make(chan amqp.Blocking, 8))
	if s.channel, err = s.conn.Channel(); err != nil {
		return fmt.Errorf("rabbitmq: open a channel: %w", err)
	}
	if err := cfg.declare(s.channel); err != nil {
		return err
	}
	channelClosed := s.channel.NotifyClose(make(chan *amqp.Error, 1))
	returns := s.channel.NotifyReturn(make(chan amqp.Return))
	confirms := s.channel.NotifyPublish(make(chan amqp.Confirmation))
	if err := s.channel.Confirm(false); err != nil {
		go drain(returns, confirms)
		return fmt.Errorf("rabbitmq: confirm mode: %w", err)
	}
	s.done.Go(s.write)
	s.done.Go(func() { s.read(returns, confirms) })
	s.done.Go(func() { s.watch(closed, channelClosed, blocked) })
	return nil
}

func drain(returns <-chan amqp.Return, confirms <-chan amqp.Confirmation) {
	for range returns {
	}
	for range confirms {
	}
}

// end ends the session. It does not wait for the broker, which may be gone.
func (s *session) end(cause error) {
	s.fail(cause)
	_ = s.conn.CloseDeadline(time.Now().Add(time.Second))
}

func (s *session) cause() error { return context.Cause(s.ended) }

// watch waits for the end of the connection or the channel.
func (s *session) watch(closed, channelClosed <-chan *amqp.Error, blocked <-chan amqp.Blocking) {
	for {
		select {
		case b, ok := <-blocked:
			if !ok {
				blocked = nil
				continue
			}
			s.blocked.Store(b.Active)
			continue
		case err := <-closed:
			s.endWith("connection", err)
		case err := <-channelClosed:
			s.endWith("channel", err)
		case <-s.ended.Done():
			s.end(nil)
		}
		return
	}
}

func (s *session) endWith(what string, err *amqp.Error) {
	cause := fmt.Errorf("rabbitmq: the %s was closed", what)
	if err != nil {
		cause = fmt.Errorf("rabbitmq: the %s was closed: %w", what, err)
	}
	s.end(cause)
}

// write publishes what is queued. A message is registered before it is sent, since the
// answer may come before the sending returns.
func (s *session) write() {
	var tag uint64
	for {
		select {
		case <-s.ended.Done():
			return
		case d := <-s.queue:
			s.register(tag+1, d)
			if _, err := s.channel.PublishWithDeferredConfirm(s.exchange, d.key, true, false, d.message); err != nil {
				s.answer(tag+1, func(d *delivery) {
					d.failed, d.notSent = fmt.Errorf("rabbitmq: %w", err), errors.Is(err, amqp.ErrClosed)
				})
				continue
			}
			tag++
		}
	}
}

func (s *session) register(tag uint64, d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[tag] = d
	s.byID[d.message.MessageId] = d
}

// answer tells what is known of a message.
func (s *session) answer(tag uint64, set func(d *delivery)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.pending[tag]
	if d == nil {
		return
	}
	delete(s.pending, tag)
	if s.byID[d.message.MessageId] == d {
		delete(s.byID, d.message.MessageId)
	}
	set(d)
	close(d.answered)
}

// read reads both kinds of answers in one goroutine: a message that comes back is
// returned before it is confirmed, and the client hands over one after the other.
func (s *session) read(returns <-chan amqp.Return, confirms <-chan amqp.Confirmation) {
	for returns != nil || confirms != nil {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			s.mu.Lock()
			if d := s.byID[r.MessageId]; d != nil {
				d.returned = fmt.Sprintf("%s (%d)", r.ReplyText, r.ReplyCode)
			}
			s.mu.Unlock()
		case c, ok := <-confirms:
			if !ok {
				confirms = nil
				continue
			}
			s.answer(c.DeliveryTag, func(d *delivery) { d.ack = c.Ack })
		}
	}
}

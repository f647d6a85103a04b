package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// Consumer handles the messages of a JetStream consumer, with a connection of its own.
type Consumer struct {
	runner *consumer.Runner
	source *source
}

// NewConsumer connects, and checks the stream and its consumer. Errors are ErrConfig, or
// tell that the servers can't be reached or don't answer. The caller must Close it.
func NewConsumer(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	s := &source{cfg: cfg, held: map[uint64]int{}}
	if s.conn, err = connect(cfg.URL, cfg.Options, cfg.Timeout, func() {}); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		s.conn.Close()
		return nil, err
	}
	return &Consumer{source: s, runner: consumer.NewRunner(cfg.Config, s, s.ackWait/3)}, nil
}

// Run handles messages until ctx ends, or Close. Then it begins nothing new, lets handlers
// finish, gives back the rest, and returns nil. While the server can't be reached it
// waits for it. It returns an error only when it is running already, or closed.
func (c *Consumer) Run(ctx context.Context) error { return c.runner.Run(ctx) }

// Close ends Run as its context does, and the connection. It may be called again.
func (c *Consumer) Close() error {
	c.runner.Close()
	c.source.conn.Close()
	return nil
}

// source is the server's side.
type source struct {
	cfg     ConsumerConfig
	conn    *client.Conn
	js      jetstream.JetStream
	handle  jetstream.Consumer
	ackWait time.Duration

	abandoned sync.WaitGroup // questions whose answers nobody wants

	mu   sync.Mutex
	held map[uint64]int // deliveries that are here, by their sequences in the stream

	// Of Receive alone.
	batch      jetstream.MessageBatch // what is being received, if any
	reconnects uint64                 // how often the connection had come back when it began
	recovered  bool                   // nothing is missing that was received before
	recoverAt  time.Time              // when all that is missing will have come back
	probed     bool                   // what was given back has been looked for
	collected  []*consumer.Delivery   // what has come back so far
}

func (s *source) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	var err error
	if s.js, err = jetstream.New(s.conn); err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	if s.handle, err = s.cfg.openConsumer(ctx, s.js); err != nil {
		return err
	}
	s.ackWait = s.handle.CachedInfo().Config.AckWait
	return nil
}

// fetchWait is how long the server keeps a question open. What comes when nobody waits for
// it any more would be missing until AckWait, so questions are short, and waited for.
const fetchWait = time.Second

// Receive implements consumer.Source.
func (s *source) Receive(ctx context.Context, limit int) ([]*consumer.Delivery, error) {
	if !s.conn.IsConnected() {
		return nil, named(errNotConnected)
	}
	if s.cut() || s.recoverAt.IsZero() {
		s.missing()
	}
	if !s.recovered {
		return s.recover(ctx, limit)
	}
	return s.receive(ctx, limit)
}

func (s *source) receive(ctx context.Context, limit int) (deliveries []*consumer.Delivery, err error) {
	if s.batch == nil {
		s.batch, err = s.handle.Fetch(limit, jetstream.FetchMaxWait(fetchWait), jetstream.FetchHeartbeat(fetchWait/2))
		if err != nil {
			s.batch = nil
			return nil, named(err)
		}
	}
	select {
	case <-ctx.Done():
		return nil, nil
	case m, ok := <-s.batch.Messages():
		for ok {
			if s.cut() { // one before it may be lost
				s.missing()
				return deliveries, nil
			}
			deliveries = append(deliveries, s.delivery(m))
			select {
			case m, ok = <-s.batch.Messages():
			default:
				return deliveries, nil
			}
		}
	}
	err = s.batch.Error()
	s.batch = nil
	if err != nil { // the server may have answered, to nobody
		s.missing()
		return deliveries, named(err)
	}
	return deliveries, nil
}

func sequence(d *consumer.Delivery) uint64 {
	if meta, err := message(d).Metadata(); err == nil {
		return meta.Sequence.Stream
	}
	return 0
}

func message(d *consumer.Delivery) jetstream.Msg { return d.Token.(jetstream.Msg) }

// delivery makes one of what was received. Its acknowledgement is bound to no connection.
func (s *source) delivery(m jetstream.Msg) *consumer.Delivery {
	d := &consumer.Delivery{Token: m}
	d.Message, d.Malformed = decode(m.Headers(), m.Data())
	if meta, err := m.Metadata(); err == nil {
		d.Deliveries = int(meta.NumDelivered)
	}
	at := sequence(d)
	s.count(at, 1)
	d.Released = func() { s.count(at, -1) }
	return d
}

func (s *source) count(sequence uint64, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[sequence] += n; s.held[sequence] == 0 {
		delete(s.held, sequence)
	}
}

// here returns how many messages are here.
func (s *source) here() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// Extend implements consumer.Source.
func (s *source) Extend(_ context.Context, held []*consumer.Delivery) (err error) {
	for _, d := range held {
		if failed := message(d).InProgress(); failed != nil && !errors.Is(failed, jetstream.ErrMsgAlreadyAckd) {
			err = named(failed)
		}
	}
	return err
}

// Ack implements consumer.Source.
func (s *source) Ack(_ context.Context, d *consumer.Delivery) error {
	if err := message(d).Ack(); err != nil {
		return named(err)
	}
	return nil
}

// Headers of what was refused.
const (
	headerReason   = "Dead-Letter-Reason"
	headerStream   = "Dead-Letter-Stream"
	headerConsumer = "Dead-Letter-Consumer"
)

// Refuse implements consumer.Source.
func (s *source) Refuse(ctx context.Context, d *consumer.Delivery, reason error) error {
	if s.cfg.DeadSubject == "" {
		return consumer.ErrNoPlace
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	m := message(d)
	dead := client.NewMsg(s.cfg.DeadSubject)
	dead.Data = m.Data()
	for name, values := range m.Headers() {
		if !strings.HasPrefix(strings.ToLower(name), "nats-") { // which mean something to the server
			dead.Header[name] = values
		}
	}
	dead.Header.Set(headerReason, cloudevents.Encode(consumer.Reason(reason)))
	dead.Header.Set(headerStream, s.cfg.Stream)
	dead.Header.Set(headerConsumer, s.cfg.Durable)
	id := fmt.Sprintf("%s/%s/%d", s.cfg.Stream, s.cfg.Durable, sequence(d))
	if _, err := s.js.PublishMsg(ctx, dead, jetstream.WithMsgID(id)); err != nil {
		return named(err)
	}
	if err := m.Term(); err != nil {
		return named(err) // it is published again, and dropped by its id
	}
	return nil
}

// Return implements consumer.Source.
func (s *source) Return(ctx context.Context, held []*consumer.Delivery) (err error) {
	held = append(slices.Clone(held), s.collected...)
	for _, d := range s.collected {
		d.Released()
	}
	s.collected, s.recoverAt = nil, time.Time{}
	if s.batch != nil { // it ends by itself, soon
		for m := range s.batch.Messages() {
			held = append(held, &consumer.Delivery{Token: m})
		}
		s.batch = nil
	}
	s.abandoned.Wait()
	for _, d := range held {
		if failed := message(d).Nak(); failed != nil {
			err = named(failed)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if s.conn.IsConnected() { // acknowledgements are on their way
		if failed := s.conn.FlushWithContext(ctx); failed != nil {
			err = named(failed)
		}
	}
	return err
}

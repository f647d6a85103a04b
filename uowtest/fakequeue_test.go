package uowtest

import (
	"context"
	"encoding/gob"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

// fakeQueue listens for TCP and keeps messages in memory. A connection is a session: what
// was delivered by it and not acknowledged is delivered again when it ends, or when
// nobody has extended it for fakeRedelivery.
type fakeQueue struct {
	listener net.Listener

	mu      sync.Mutex
	entries []*fakeEntry
	dead    []DeadLetter
	last    int
	conns   map[net.Conn]bool
	done    sync.WaitGroup
}

const fakeRedelivery = 300 * time.Millisecond

// fakeEntry is a message at the broker.
type fakeEntry struct {
	ID         int
	Message    outbox.Message
	Garbage    bool
	Deliveries int

	session net.Conn // that has it, if any
	until   time.Time
}

// fakeCall is what a client asks.
type fakeCall struct {
	Op     string
	IDs    []int
	Limit  int
	Reason string
}

func newFakeQueue(t testing.TB) *fakeQueue {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	q := &fakeQueue{listener: l, conns: map[net.Conn]bool{}}
	q.done.Go(q.accept)
	t.Cleanup(func() {
		_ = l.Close()
		q.mu.Lock()
		for c := range q.conns {
			_ = c.Close()
		}
		q.mu.Unlock()
		q.done.Wait()
	})
	return q
}

func (q *fakeQueue) accept() {
	for {
		c, err := q.listener.Accept()
		if err != nil {
			return
		}
		q.mu.Lock()
		q.conns[c] = true
		q.mu.Unlock()
		q.done.Go(func() { q.serve(c) })
	}
}

func (q *fakeQueue) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, e := range q.entries {
			if e.session == c {
				e.session = nil
			}
		}
	}()
	in, out := gob.NewDecoder(c), gob.NewEncoder(c)
	for {
		var call fakeCall
		if in.Decode(&call) != nil || out.Encode(q.answer(c, call)) != nil {
			return
		}
	}
}

func (q *fakeQueue) answer(c net.Conn, call fakeCall) (answer []fakeEntry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if call.Op == "receive" {
		for _, e := range q.entries {
			if len(answer) < call.Limit && (e.session == nil || now.After(e.until)) {
				e.session, e.until = c, now.Add(fakeRedelivery)
				e.Deliveries++
				answer = append(answer, *e)
			}
		}
		return answer
	}
	q.entries = slices.DeleteFunc(q.entries, func(e *fakeEntry) bool {
		if !slices.Contains(call.IDs, e.ID) {
			return false
		}
		switch call.Op {
		case "extend":
			e.until = now.Add(fakeRedelivery)
		case "return":
			e.session = nil
			e.Deliveries--
		case "refuse":
			q.dead = append(q.dead, DeadLetter{Message: e.Message, Reason: call.Reason})
		}
		return call.Op == "ack" || call.Op == "refuse"
	})
	return nil
}

func (q *fakeQueue) store(e fakeEntry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	e.ID = q.last
	q.entries = append(q.entries, &e)
}

// consumerFault is one way to break a consumer: what is set takes the place of what is
// right.
type consumerFault struct {
	// config changes what the consumer is told.
	config func(cfg *consumer.Config)
	// received changes what has come.
	received func(s *fakeSource, all []*consumer.Delivery) []*consumer.Delivery
	// receive, ack, refuse, extend and giveBack take the places of what a source does.
	receive  func(ctx context.Context, s *fakeSource, limit int) ([]*consumer.Delivery, error)
	ack      func(s *fakeSource, d *consumer.Delivery) error
	refuse   func(s *fakeSource, d *consumer.Delivery, reason error) error
	extend   func(s *fakeSource, held []*consumer.Delivery) error
	giveBack func(s *fakeSource, held []*consumer.Delivery) error
	// run and close take the places of what a consumer does.
	run   func(ctx context.Context, c *fakeConsumer) error
	close func(c *fakeConsumer) error
}

// fakeConsumer consumes a fakeQueue. Without a fault it is sound.
type fakeConsumer struct {
	*consumer.Runner
	source *fakeSource
	faults *consumerFault
}

func newFakeConsumer(address string, cfg consumer.Config, f *consumerFault) (*fakeConsumer, error) {
	if f.config != nil {
		f.config(&cfg)
	}
	cfg, err := cfg.Resolve()
	if err != nil {
		return nil, err
	}
	s := &fakeSource{address: address, faults: f}
	s.alive, s.die = context.WithCancel(context.Background())
	return &fakeConsumer{Runner: consumer.NewRunner(cfg, s, fakeRedelivery/6), source: s, faults: f}, nil
}

func (c *fakeConsumer) Run(ctx context.Context) error {
	if c.faults.run != nil {
		return c.faults.run(ctx, c)
	}
	return c.Runner.Run(ctx)
}

func (c *fakeConsumer) Close() error {
	if c.faults.close != nil {
		return c.faults.close(c)
	}
	c.Runner.Close()
	c.source.drop()
	return nil
}

// fakeSource is the client's side.
type fakeSource struct {
	address string
	faults  *consumerFault

	mu    sync.Mutex
	conn  net.Conn
	in    *gob.Decoder
	out   *gob.Encoder
	alive context.Context // ends with the connection
	die   context.CancelFunc
}

func (s *fakeSource) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked()
}

func (s *fakeSource) dropLocked() {
	s.die()
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// call asks in the session, or, for what needs none, in whichever there is, or a new one.
func (s *fakeSource) call(call fakeCall, sessions ...context.Context) (answer []fakeEntry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, session := range sessions {
		if s.conn == nil || session.Err() != nil {
			return nil, errors.New("fake: the session has ended")
		}
	}
	if s.conn == nil {
		if s.conn, err = net.Dial("tcp", s.address); err != nil {
			s.conn = nil
			return nil, err
		}
		s.in, s.out = gob.NewDecoder(s.conn), gob.NewEncoder(s.conn)
		s.alive, s.die = context.WithCancel(context.Background())
	}
	if err = s.out.Encode(call); err == nil {
		err = s.in.Decode(&answer)
	}
	if err != nil {
		s.dropLocked()
	}
	return answer, err
}

func (s *fakeSource) Receive(ctx context.Context, limit int) ([]*consumer.Delivery, error) {
	if s.faults.receive != nil {
		return s.faults.receive(ctx, s, limit)
	}
	return s.receiveSoundly(ctx, limit)
}

func (s *fakeSource) receiveSoundly(ctx context.Context, limit int) (all []*consumer.Delivery, err error) {
	entries, err := s.call(fakeCall{Op: "receive", Limit: limit})
	if err != nil || len(entries) == 0 {
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
		return nil, err
	}
	s.mu.Lock()
	session := s.alive
	s.mu.Unlock()
	for _, e := range entries {
		d := &consumer.Delivery{Message: consumer.Message{Message: e.Message, Source: "/fake"}, Deliveries: e.Deliveries, Session: session, Token: e.ID}
		if e.Garbage {
			d.Malformed = consumer.ErrMalformed
		}
		all = append(all, d)
	}
	if s.faults.received != nil {
		all = s.faults.received(s, all)
	}
	return all, nil
}

func (s *fakeSource) say(op, reason string, held ...*consumer.Delivery) error {
	call := fakeCall{Op: op, Reason: reason}
	for _, d := range held {
		call.IDs = append(call.IDs, d.Token.(int))
	}
	if len(held) == 0 {
		return nil
	}
	_, err := s.call(call, held[0].Session)
	return err
}

func (s *fakeSource) Ack(_ context.Context, d *consumer.Delivery) error {
	if s.faults.ack != nil {
		return s.faults.ack(s, d)
	}
	return s.say("ack", "", d)
}

func (s *fakeSource) Refuse(_ context.Context, d *consumer.Delivery, reason error) error {
	if s.faults.refuse != nil {
		return s.faults.refuse(s, d, reason)
	}
	return s.say("refuse", consumer.Reason(reason), d)
}

func (s *fakeSource) Extend(_ context.Context, held []*consumer.Delivery) error {
	if s.faults.extend != nil {
		return s.faults.extend(s, held)
	}
	return s.say("extend", "", held...)
}

func (s *fakeSource) Return(_ context.Context, held []*consumer.Delivery) error {
	if s.faults.giveBack != nil {
		return s.faults.giveBack(s, held)
	}
	return s.say("return", "", held...)
}

// newConsumerHarness runs a fake queue for each check, with the fault in its consumers.
func newConsumerHarness(t testing.TB, f consumerFault) ConsumerHarness {
	q := newFakeQueue(t)
	return ConsumerHarness{
		Address: q.listener.Addr().String(), Redelivery: fakeRedelivery,
		New: func(testing.TB) Queue {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.entries, q.dead = nil, nil
			return Queue{
				Publish: func(_ context.Context, batch []outbox.Message) error {
					for _, m := range batch {
						q.store(fakeEntry{Message: m})
					}
					return nil
				},
				Garbage: func(context.Context) error {
					q.store(fakeEntry{Garbage: true})
					return nil
				},
				Open: func(_ context.Context, address string, _ bool, cfg consumer.Config) (ClosingConsumer, error) {
					return newFakeConsumer(address, cfg, &f)
				},
				Waiting: func(context.Context) (int, error) {
					q.mu.Lock()
					defer q.mu.Unlock()
					return len(q.entries), nil
				},
				Dead: func(context.Context) ([]DeadLetter, error) {
					q.mu.Lock()
					defer q.mu.Unlock()
					return slices.Clone(q.dead), nil
				},
			}
		},
	}
}

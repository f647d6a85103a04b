package uowtest

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay"
)

// fakeBroker listens for TCP and keeps messages in memory. What it is asked is a
// batch, and what it answers an outcome for each message.
type fakeBroker struct {
	listener net.Listener
	faults   publisherFault

	mu     sync.Mutex
	stored []outbox.Message
	ids    map[string]bool
	conns  map[net.Conn]bool
	done   sync.WaitGroup
}

const (
	fakeMaxPayload = 1<<20 + 1000
	fakePoison     = "nowhere"
)

// publisherFault is one way to break a publisher or its broker: what is set takes the
// place of what is right.
type publisherFault struct {
	// store keeps a batch, and returns what is answered.
	store func(b *fakeBroker, batch []outbox.Message) []relays.Outcome
	// publish takes the place of Publish.
	publish func(ctx context.Context, p *fakePublisher, batch []outbox.Message) []relays.Result
	// close takes the place of Close.
	close func(p *fakePublisher) error
	// change is what is done to each message on its way.
	change func(m outbox.Message) outbox.Message
	// lost is the outcome of what was sent when the answer is lost, and gone the one
	// when there is no connection; instead of Unknown and Unavailable.
	lost, gone *relays.Outcome
	// forever leaves a connection that broke as it is.
	forever bool
}

func newFakeBroker(t testing.TB, f publisherFault) *fakeBroker {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &fakeBroker{listener: l, faults: f, ids: map[string]bool{}, conns: map[net.Conn]bool{}}
	b.done.Go(b.accept)
	t.Cleanup(b.close)
	return b
}

func (b *fakeBroker) close() {
	_ = b.listener.Close()
	b.mu.Lock()
	for c := range b.conns {
		_ = c.Close()
	}
	b.mu.Unlock()
	b.done.Wait()
}

func (b *fakeBroker) accept() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		b.conns[c] = true
		b.mu.Unlock()
		b.done.Go(func() {
			defer c.Close()
			in, out := gob.NewDecoder(c), gob.NewEncoder(c)
			for {
				var batch []outbox.Message
				if in.Decode(&batch) != nil {
					return
				}
				if out.Encode(b.store(batch)) != nil {
					return
				}
			}
		})
	}
}

func (b *fakeBroker) store(batch []outbox.Message) []relays.Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.faults.store != nil {
		return b.faults.store(b, batch)
	}
	return b.storeSoundly(batch)
}

func (b *fakeBroker) storeSoundly(batch []outbox.Message) []relays.Outcome {
	outcomes, stopped := make([]relays.Outcome, len(batch)), map[string]bool{}
	for i, m := range batch {
		switch {
		case m.Key != "" && stopped[m.Key]:
			outcomes[i] = relays.NotTried
		case len(m.Payload) > fakeMaxPayload:
			outcomes[i] = relays.Refused
		case m.Topic == fakePoison:
			outcomes[i] = relays.Retry
		case b.ids[m.ID]:
			outcomes[i] = relays.Duplicate
		default:
			b.ids[m.ID], outcomes[i] = true, relays.Stored
			b.stored = append(b.stored, m)
		}
		stopped[m.Key] = !outcomes[i].Delivered()
	}
	return outcomes
}

// fakePublisher publishes to a fakeBroker. Without a fault it is sound.
type fakePublisher struct {
	address string
	faults  *publisherFault

	mu     sync.Mutex
	conn   net.Conn
	in     *gob.Decoder
	out    *gob.Encoder
	closed bool
	closes context.Context
	close  context.CancelFunc
}

func newFakePublisher(address string, f *publisherFault) *fakePublisher {
	p := &fakePublisher{address: address, faults: f}
	p.closes, p.close = context.WithCancel(context.Background())
	return p
}

func (p *fakePublisher) Publish(ctx context.Context, batch []outbox.Message) []relays.Result {
	if p.faults.publish != nil {
		return p.faults.publish(ctx, p, batch)
	}
	return p.publishSoundly(ctx, batch)
}

func (p *fakePublisher) publishSoundly(ctx context.Context, batch []outbox.Message) []relays.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return allAre(batch, relays.NotTried, ctx.Err())
	}
	if p.closed {
		return allAre(batch, relays.NotTried, errors.New("fake: closed"))
	}
	if err := p.connect(ctx); err != nil {
		return allAre(batch, p.goneOutcome(), err)
	}
	outcomes, err := p.ask(ctx, batch)
	if err != nil {
		if p.conn.Close(); !p.faults.forever {
			p.conn = nil
		}
		return allAre(batch, p.lostOutcome(), err)
	}
	results := make([]relays.Result, len(batch))
	for i, o := range outcomes {
		results[i].Outcome = o
		if !o.Delivered() {
			results[i].Err = fmt.Errorf("fake: too large or without a way: %v", o)
		}
	}
	return results
}

func (p *fakePublisher) goneOutcome() relays.Outcome {
	if p.faults.gone != nil {
		return *p.faults.gone
	}
	return relays.Unavailable
}

func (p *fakePublisher) lostOutcome() relays.Outcome {
	if p.faults.lost != nil {
		return *p.faults.lost
	}
	return relays.Unknown
}

func (p *fakePublisher) connect(ctx context.Context) error {
	if p.conn != nil {
		return nil
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return err
	}
	p.conn, p.in, p.out = c, gob.NewDecoder(c), gob.NewEncoder(c)
	return nil
}

// ask ends with the context and with Close, by closing the connection.
func (p *fakePublisher) ask(ctx context.Context, batch []outbox.Message) (outcomes []relays.Outcome, err error) {
	conn := p.conn
	for _, c := range []context.Context{ctx, p.closes} {
		stop := context.AfterFunc(c, func() { _ = conn.Close() })
		defer stop()
	}
	sent := batch
	if p.faults.change != nil {
		sent = nil
		for _, m := range batch {
			sent = append(sent, p.faults.change(m))
		}
	}
	if err := p.out.Encode(sent); err != nil {
		return nil, err
	}
	err = p.in.Decode(&outcomes)
	return outcomes, err
}

func (p *fakePublisher) Close() error {
	if p.faults.close != nil {
		return p.faults.close(p)
	}
	p.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.conn != nil {
		_ = p.conn.Close()
	}
	return nil
}

func allAre(batch []outbox.Message, o relays.Outcome, err error) []relays.Result {
	results := make([]relays.Result, len(batch))
	for i := range results {
		results[i] = relays.Result{Outcome: o, Err: err}
	}
	return results
}

// newPublisherHarness runs a fake broker, with the fault.
func newPublisherHarness(t testing.TB, f publisherFault) PublisherHarness {
	b := newFakeBroker(t, f)
	return PublisherHarness{
		Address: b.listener.Addr().String(), MaxPayload: fakeMaxPayload,
		New: func(testing.TB) Destination {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.stored, b.ids = nil, map[string]bool{}
			return Destination{
				Open: func(_ context.Context, address string) (ClosingPublisher, error) {
					return newFakePublisher(address, &f), nil
				},
				Stored: func(context.Context) ([]outbox.Message, error) {
					b.mu.Lock()
					defer b.mu.Unlock()
					return append([]outbox.Message{}, b.stored...), nil
				},
				Poison: func(m outbox.Message) outbox.Message {
					m.Topic = fakePoison
					return m
				},
			}
		},
	}
}

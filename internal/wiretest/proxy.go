// Package wiretest stands between a store and its server, for tests: it counts round trips,
// and breaks the connection at a message.
package wiretest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Wire knows where the messages of a protocol begin. M is what is known of one.
type Wire[M any] interface {
	// Read reads the next message of a side of a connection, whole. known is false for
	// one that nobody is asked about.
	Read(from io.Reader, client, first bool) (frame []byte, m M, known bool, err error)
	// Trip reports whether a message stands for a round trip.
	Trip(m M) bool
	// Alter returns what is forwarded in place of a message.
	Alter(frame []byte) []byte
}

// Verdict is what is done with a message.
type Verdict uint8

// What may be done with a message: the connection may be cut before or after it was
// forwarded, or something else be forwarded (Wire.Alter).
const (
	Forward Verdict = iota
	CutBefore
	CutAfter
	Alter
)

// Proxy listens in place of a server.
type Proxy[M any] struct {
	ctx     context.Context
	address string
	server  string
	wire    Wire[M]
	mu      sync.Mutex
	decide  func(m M) Verdict
	trips   int
	conns   []net.Conn
	done    sync.WaitGroup
}

// NewProxy has a proxy listen for the server at an address until the test ends.
func NewProxy[M any](t testing.TB, server string, wire Wire[M]) *Proxy[M] {
	t.Helper()
	var listening net.ListenConfig
	l, err := listening.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy[M]{ctx: context.WithoutCancel(t.Context()), address: l.Addr().String(), server: server, wire: wire}
	p.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(c)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.done.Wait()
	})
	return p
}

// Address returns where it listens.
func (p *Proxy[M]) Address() string { return p.address }

// Watch has decide asked about each message from now on; nil forwards everything.
func (p *Proxy[M]) Watch(decide func(m M) Verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

// At has the nth message from now on, counted from 0, meet the verdict. reached reports
// whether there was one.
func (p *Proxy[M]) At(n int, v Verdict) (reached *atomic.Bool) {
	var seen atomic.Int64
	reached = &atomic.Bool{}
	p.Watch(func(M) Verdict {
		if seen.Add(1) != int64(n)+1 {
			return Forward
		}
		reached.Store(true)
		return v
	})
	return reached
}

// Count returns how many round trips fn makes.
func (p *Proxy[M]) Count(fn func()) int {
	p.mu.Lock()
	before := p.trips
	p.mu.Unlock()
	fn()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trips - before
}

func (p *Proxy[M]) serve(client net.Conn) {
	var dialing net.Dialer
	server, err := dialing.DialContext(p.ctx, "tcp", p.server)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns = append(p.conns, client, server)
	p.mu.Unlock()
	both := func() { _, _ = client.Close(), server.Close() }
	p.done.Go(func() { defer both(); _ = p.pump(server, client, true) })
	p.done.Go(func() { defer both(); _ = p.pump(client, server, false) })
}

var errCut = errors.New("wiretest: cut")

// pump forwards message by message.
func (p *Proxy[M]) pump(to io.Writer, from io.Reader, client bool) error {
	for first := true; ; first = false {
		frame, m, known, err := p.wire.Read(from, client, first)
		if err != nil {
			return err
		}
		v := Forward
		if known {
			v = p.ask(m)
		}
		switch v {
		case CutBefore:
			return errCut
		case Alter:
			frame = p.wire.Alter(frame)
		}
		if _, err := to.Write(frame); err != nil {
			return err
		}
		if v == CutAfter {
			return errCut
		}
	}
}

func (p *Proxy[M]) ask(m M) Verdict {
	p.mu.Lock()
	decide := p.decide
	if p.wire.Trip(m) {
		p.trips++
	}
	p.mu.Unlock()
	if decide == nil {
		return Forward
	}
	return decide(m)
}

package mysql

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between the store and the server, and knows where the protocol's
// packets begin. decide is asked about each of them.
type proxy struct {
	address string
	server  string
	mu      sync.Mutex
	decide  func(p packet) verdict
	trips   int // packets of the client, each of which waits for an answer
	conns   []net.Conn
	done    sync.WaitGroup
}

// packet is what passes the proxy.
type packet struct {
	client bool   // it comes from the client
	body   []byte // without its header
}

type verdict uint8

const (
	forward verdict = iota
	cutBefore
	cutAfter
	garbled // an answer that nobody has given comes before it
)

func newProxy(t testing.TB) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: l.Addr().String(), server: address(t)}
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
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.done.Wait()
	})
	return p
}

// watch has decide asked from now on; nil forwards everything.
func (p *proxy) watch(decide func(p packet) verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

// count returns how many round trips fn makes.
func (p *proxy) count(fn func()) int {
	p.mu.Lock()
	before := p.trips
	p.mu.Unlock()
	fn()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trips - before
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns = append(p.conns, client, server)
	p.mu.Unlock()
	both := func() { client.Close(); server.Close() }
	p.done.Go(func() { defer both(); _ = p.pump(server, client, true) })
	p.done.Go(func() { defer both(); _ = p.pump(client, server, false) })
}

var errCut = errors.New("cut")

// pump forwards packet by packet.
func (p *proxy) pump(to io.Writer, from io.Reader, client bool) error {
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(from, head); err != nil {
			return err
		}
		size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
		frame := append(head, make([]byte, size)...)
		if _, err := io.ReadFull(from, frame[4:]); err != nil {
			return err
		}
		v := p.ask(packet{client, frame[4:]})
		if v == cutBefore {
			return errCut
		}
		if v == garbled {
			frame = append([]byte{7, 0, 0, frame[3], 0, 0, 0, 2, 0, 0, 0}, frame...)
		}
		if _, err := to.Write(frame); err != nil {
			return err
		}
		if v == cutAfter {
			return errCut
		}
	}
}

// The commands that have no answer, and the one that ends a connection.
const (
	comQuit      = 1
	comStmtClose = 25
)

func (p *proxy) ask(m packet) verdict {
	p.mu.Lock()
	decide := p.decide
	if m.client && len(m.body) > 0 && m.body[0] != comStmtClose && m.body[0] != comQuit {
		p.trips++
	}
	p.mu.Unlock()
	if decide == nil {
		return forward
	}
	return decide(m)
}

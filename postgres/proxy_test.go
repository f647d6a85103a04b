package postgres

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between the store and the server, and knows where the protocol's
// messages begin. decide is asked about each of them.
type proxy struct {
	address string
	server  string
	mu      sync.Mutex
	decide  func(m message) verdict
	trips   int // answers of the server that end a round trip
	conns   []net.Conn
	done    sync.WaitGroup
}

// message is what passes the proxy.
type message struct {
	client bool // it comes from the client
	kind   byte
}

type verdict uint8

const (
	forward verdict = iota
	cutBefore
	cutAfter
	repeat // it comes twice
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
func (p *proxy) watch(decide func(m message) verdict) {
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

// pump forwards message by message.
func (p *proxy) pump(to io.Writer, from io.Reader, client bool) error {
	for first := client; ; first = false {
		head := make([]byte, 5)
		if first { // the start-up message has no kind
			head = head[:4]
		}
		if _, err := io.ReadFull(from, head); err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
		frame := append(head, make([]byte, size)...)
		if _, err := io.ReadFull(from, frame[len(head):]); err != nil {
			return err
		}
		v := forward
		if !first {
			v = p.ask(message{client, frame[0]})
		}
		if v == cutBefore {
			return errCut
		}
		if v == repeat {
			frame = append(frame, frame...)
		}
		if _, err := to.Write(frame); err != nil {
			return err
		}
		if v == cutAfter {
			return errCut
		}
	}
}

func (p *proxy) ask(m message) verdict {
	p.mu.Lock()
	decide := p.decide
	if !m.client && m.kind == 'Z' {
		p.trips++
	}
	p.mu.Unlock()
	if decide == nil {
		return forward
	}
	return decide(m)
}

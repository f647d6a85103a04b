package faultproxy

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Fault is what happens to a message.
type Fault uint8

// The faults.
const (
	None        Fault = iota
	CutBefore         // the connection ends, the message did not arrive
	CutWithin         // the connection ends in the middle of the message
	CutAfter          // the message arrives, and then the connection ends
	Delay             // it comes a little later
	Hold              // it comes when Release is called, whatever the other side does meanwhile
	Duplicate         // it comes twice
	Outage            // as CutBefore, and so do all other connections; new ones are refused until Heal
	OutageAfter       // as Outage, after the message has arrived
)

// String names the fault.
func (f Fault) String() string {
	return [...]string{"none", "cut before", "cut within", "cut after", "delay", "hold", "duplicate", "outage", "outage after"}[f]
}

// late is how long Delay delays.
const late = time.Millisecond

// Proxy forwards connections to a server, message by message.
type Proxy struct {
	protocol Protocol
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	target string
	decide func(m Message) Fault
	links  map[*link]struct{}
	opened int // connections so far
	down   bool
	hold   chan struct{} // closed by Release
}

// link is one connection, with both of its sides.
type link struct {
	number         int
	client, server net.Conn
}

func (l *link) cut() { _, _ = l.client.Close(), l.server.Close() }

// New starts a proxy to the server at the address. Close ends it.
func New(protocol Protocol, target string) (*Proxy, error) {
	var cfg net.ListenConfig
	l, err := cfg.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{protocol: protocol, listener: l, target: target, links: map[*link]struct{}{}, hold: make(chan struct{})}
	p.done.Go(p.accept)
	return p, nil
}

// Address returns where the proxy listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Watch has decide asked about each message from now on, by one goroutine at a
// time; nil forwards everything.
func (p *Proxy) Watch(decide func(m Message) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

// Switch sends new connections to another server, and cuts all that there are.
func (p *Proxy) Switch(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.CutAll()
}

// Down refuses new connections until Heal, and cuts all that there are.
func (p *Proxy) Down() {
	p.mu.Lock()
	p.down = true
	p.mu.Unlock()
	p.CutAll()
}

// Heal ends an outage.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

// Release lets go what is held.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.hold)
	p.hold = make(chan struct{})
}

// CutAll cuts all connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

// Links returns how many connections there are.
func (p *Proxy) Links() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Close cuts all connections, and waits until nothing of the proxy runs any more.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.Down()
	p.Release()
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(c) })
	}
}

// serve dials without the lock: the server may be a dead one.
func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target, down := p.target, p.down
	p.mu.Unlock()
	if down {
		_ = client.Close()
		return
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	server, err := dialer.DialContext(context.Background(), "tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{client: client, server: server}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || p.target != target {
		l.cut()
		return
	}
	p.opened++
	l.number = p.opened
	p.links[l] = struct{}{}
	p.done.Go(func() { p.link(l) })
}

// link forwards in both directions. The end of what the client has to say is passed
// on behind it, and the server's end ends everything.
func (p *Proxy) link(l *link) {
	upstream := make(chan struct{})
	go func() {
		defer close(upstream)
		if p.pump(l, true) != nil {
			l.cut()
		}
	}()
	if p.pump(l, false) != nil {
		l.cut()
	}
	_ = l.client.Close()
	<-upstream
	l.cut()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

var errCut = errors.New("faultproxy: cut")

// pump forwards one direction to its end. An error cuts the connection.
func (p *Proxy) pump(l *link, fromClient bool) error {
	from, to := l.server, l.client
	if fromClient {
		from, to = l.client, l.server
	}
	in, next := bufio.NewReaderSize(from, 1<<16), p.protocol.reader(fromClient)
	gone := false // the client is; what the server still says goes nowhere
	for {
		frame, m, err := next(in)
		if err != nil {
			if fromClient { // half-closed: the server reads to the end
				_ = l.server.(*net.TCPConn).CloseWrite()
			}
			return nil // the other side has closed the connection
		}
		m.Connection, m.FromClient, m.Size = l.number, fromClient, len(frame)
		fault, hold := p.ask(m)
		frame, err = p.inflict(fault, hold, frame)
		if !gone && len(frame) > 0 {
			if _, werr := to.Write(frame); werr != nil {
				gone = true
			}
		}
		if errors.Is(err, errOutage) {
			p.CutAll()
		}
		if err != nil {
			return err
		}
		if gone && fromClient {
			return nil
		}
	}
}

// inflict returns what of a message is forwarded.
func (p *Proxy) inflict(fault Fault, hold <-chan struct{}, frame []byte) ([]byte, error) {
	switch fault {
	case CutBefore:
		return nil, errCut
	case CutWithin:
		return frame[:(len(frame)+1)/2], errCut
	case CutAfter:
		return frame, errCut
	case Delay:
		<-time.After(late)
	case Hold:
		<-hold
	case Duplicate:
		return append(frame[:len(frame):len(frame)], frame...), nil
	case Outage:
		return nil, errOutage
	case OutageAfter:
		return frame, errOutage
	}
	return frame, nil
}

var errOutage = errors.New("faultproxy: outage")

func (p *Proxy) ask(m Message) (Fault, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.decide == nil {
		return None, nil
	}
	fault := p.decide(m)
	if fault == Outage || fault == OutageAfter {
		p.down = true // at once, lest a Heal comes before
	}
	return fault, p.hold
}

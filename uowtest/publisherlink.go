package uowtest

import (
	"context"
	"net"
	"sync"
	"time"
)

// link forwards TCP connections to a broker, and is where networks fail.
type link struct {
	at     string
	target string
	done   sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	pairs    map[*pair]struct{}
	refused  bool
	holding  [2]bool       // requests, answers
	changed  chan struct{} // closed when holding or pairs change
	heldSize [2]int        // bytes that are held
	cutAfter int           // bytes of requests until all is cut; 0: never
}

// pair is one connection, with both of its sides.
type pair struct {
	client, server net.Conn
	gone           chan struct{}
	once           sync.Once
}

func (p *pair) cut() {
	p.once.Do(func() { close(p.gone) })
	_, _ = p.client.Close(), p.server.Close()
}

// The directions of a link.
const (
	requests = iota
	answers
)

func newLink(target string) (*link, error) {
	var cfg net.ListenConfig
	l, err := cfg.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{at: l.Addr().String(), listener: l, target: target, pairs: map[*pair]struct{}{}, changed: make(chan struct{})}
	k.done.Go(func() { k.accept(l) })
	return k, nil
}

func (l *link) address() string { return l.at }

// connections returns how many there are.
func (l *link) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pairs)
}

// refuse cuts all connections and refuses new ones until heal.
func (l *link) refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = true
	_ = l.listener.Close()
	l.cutLocked()
}

func (l *link) heal() error {
	var cfg net.ListenConfig
	listener, err := cfg.Listen(context.Background(), "tcp", l.at)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused, l.listener = false, listener
	l.done.Go(func() { l.accept(listener) })
	return nil
}

// cut cuts all connections; new ones are welcome.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutLocked()
}

// cutAfterRequests cuts all connections when so many more bytes have been forwarded
// to the broker.
func (l *link) cutAfterRequests(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutAfter = bytes
}

// hold forwards nothing of a direction until release.
func (l *link) hold(direction int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding[direction], l.heldSize[direction] = true, 0
}

// held returns how many bytes have come in a direction since hold.
func (l *link) held(direction int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heldSize[direction]
}

func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding = [2]bool{}
	l.tell()
}

// close ends the link, and waits until nothing of it runs any more.
func (l *link) close() {
	l.refuse()
	l.done.Wait()
}

func (l *link) cutLocked() {
	for p := range l.pairs {
		p.cut()
	}
	l.cutAfter = 0
}

func (l *link) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		l.done.Go(func() { l.serve(client) })
	}
}

func (l *link) serve(client net.Conn) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	server, err := dialer.DialContext(context.Background(), "tcp", l.target)
	if err != nil {
		_ = client.Close()
		return
	}
	p := &pair{client: client, server: server, gone: make(chan struct{})}
	l.mu.Lock()
	if l.refused {
		p.cut()
	}
	l.pairs[p] = struct{}{}
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.forward(p, requests, client, server) })
	both.Go(func() { l.forward(p, answers, server, client) })
	both.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pairs, p)
}

// forward ends the whole connection when one side does.
func (l *link) forward(p *pair, direction int, from, to net.Conn) {
	defer p.cut()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && l.wait(p, direction, n) {
			if _, err := to.Write(buffer[:l.count(direction, n)]); err != nil {
				return
			}
			if direction == requests && l.isDue() {
				l.cut()
			}
		}
		if err != nil {
			return
		}
	}
}

// wait waits while a direction is held. It reports whether to go on.
func (l *link) wait(p *pair, direction, n int) bool {
	l.mu.Lock()
	l.heldSize[direction] += n
	for l.holding[direction] {
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-p.gone:
			return false
		}
		l.mu.Lock()
	}
	l.mu.Unlock()
	return true
}

// count returns how many of n bytes are forwarded before the cut that is due.
func (l *link) count(direction, n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if direction != requests || l.cutAfter == 0 {
		return n
	}
	if n = min(n, l.cutAfter); n < 0 { // another connection was the last
		return 0
	}
	if l.cutAfter -= n; l.cutAfter == 0 {
		l.cutAfter = -1
	}
	return n
}

func (l *link) isDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cutAfter < 0
}

package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Delay is a server before a server: what it gets from a client it passes on after
// a time, in order, and so it adds to each round trip without bounding how much is
// under way. Answers go back at once: half of the delay on each side would be the
// same to the client, and twice the error, since timers are not exact.
type Delay struct {
	delay    time.Duration
	server   string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

// NewDelay listens on a free port, before the server at an address.
func NewDelay(server string, delay time.Duration) (*Delay, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &Delay{delay: delay, server: server, listener: l, conns: map[net.Conn]bool{}}
	d.wg.Go(d.accept)
	return d, nil
}

// Address is where it listens.
func (d *Delay) Address() string { return d.listener.Addr().String() }

// Close ends all connections.
func (d *Delay) Close() error {
	err := d.listener.Close()
	d.mu.Lock()
	d.closed = true
	for c := range d.conns {
		err = errors.Join(err, ignoreClosed(c.Close()))
	}
	d.mu.Unlock()
	d.wg.Wait()
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (d *Delay) accept() {
	for {
		client, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.wg.Go(func() { d.serve(client) })
	}
}

// keep has Close end a connection, or ends it when that is over.
func (d *Delay) keep(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		c.Close()
	}
	d.conns[c] = true
}

func (d *Delay) drop(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
	c.Close()
}

func (d *Delay) serve(client net.Conn) {
	d.keep(client)
	defer d.drop(client)
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", d.server)
	if err != nil {
		return
	}
	d.keep(server)
	defer d.drop(server)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(client, server) // ends with either
		client.Close()
	})
	d.forward(client, server)
	server.Close()
	wg.Wait()
}

// chunk is what came at once.
type chunk struct {
	data []byte
	due  time.Time
}

// forward passes on what comes, each chunk when it is due. Chunks are used again, so
// that the proxy allocates nothing that would be counted as the variants'.
func (d *Delay) forward(from, to net.Conn) {
	const size, many = 16 << 10, 64
	queue, free := make(chan chunk, many), make(chan []byte, many)
	for range many {
		free <- nil
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for c := range queue {
			time.Sleep(time.Until(c.due)) //nolint:forbidigo // this is the delay
			if _, err := to.Write(c.data); err != nil {
				from.Close()
			}
			free <- c.data[:size]
		}
	})
	for {
		buffer := <-free
		if buffer == nil {
			buffer = make([]byte, size)
		}
		n, err := from.Read(buffer)
		if err != nil {
			break
		}
		queue <- chunk{buffer[:n], time.Now().Add(d.delay)}
	}
	close(queue)
	wg.Wait()
}

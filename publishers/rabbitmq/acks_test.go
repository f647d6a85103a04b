package rabbitmq_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// ackCounter forwards connections to the broker, and counts the acknowledgements that
// clients send: the protocol does not tell how many messages a queue waits for.
type ackCounter struct {
	address string
	n       atomic.Int64
}

func newAckCounter(t testing.TB, target string) *ackCounter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	a := &ackCounter{address: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go a.forward(client, target)
		}
	}()
	return a
}

func (a *ackCounter) forward(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		defer client.Close()
		defer server.Close()
		_, _ = io.Copy(client, server)
	}()
	greeting := make([]byte, 8) // "AMQP" and a version
	if _, err := io.ReadFull(client, greeting); err != nil {
		return
	}
	if _, err := server.Write(greeting); err != nil {
		return
	}
	for {
		frame := make([]byte, 7) // type, channel, size
		if _, err := io.ReadFull(client, frame); err != nil {
			return
		}
		rest := make([]byte, binary.BigEndian.Uint32(frame[3:])+1)
		if _, err := io.ReadFull(client, rest); err != nil {
			return
		}
		if _, err := server.Write(append(frame, rest...)); err != nil {
			return
		}
		if frame[0] == 1 && bytes.HasPrefix(rest, []byte{0, 60, 0, 80}) { // basic.ack
			a.n.Add(1)
		}
	}
}

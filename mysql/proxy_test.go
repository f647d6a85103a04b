package mysql

import (
	"io"
	"testing"

	"github.com/uow-go/uow/internal/wiretest"
)

// proxy stands between the store and the server.
type proxy = wiretest.Proxy[packet]

// packet is what passes the proxy.
type packet struct {
	client bool   // it comes from the client
	body   []byte // without its header
}

type verdict = wiretest.Verdict

const (
	forward   = wiretest.Forward
	cutBefore = wiretest.CutBefore
	cutAfter  = wiretest.CutAfter
	garbled   = wiretest.Alter // an answer that nobody has given comes before it
)

func newProxy(t testing.TB) *proxy {
	t.Helper()
	return wiretest.NewProxy(t, address(t), packets{})
}

// packets are those of the protocol. Those of a client that have an answer are round
// trips.
type packets struct{}

func (packets) Read(from io.Reader, client, _ bool) (frame []byte, p packet, known bool, err error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, p, false, err
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	frame = append(head, make([]byte, size)...)
	_, err = io.ReadFull(from, frame[4:])
	return frame, packet{client, frame[4:]}, true, err
}

// The commands that have no answer, and the one that ends a connection.
const (
	comQuit      = 1
	comStmtClose = 25
)

func (packets) Trip(p packet) bool {
	return p.client && len(p.body) > 0 && p.body[0] != comStmtClose && p.body[0] != comQuit
}

func (packets) Alter(frame []byte) []byte {
	return append([]byte{7, 0, 0, frame[3], 0, 0, 0, 2, 0, 0, 0}, frame...)
}

package postgres

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/uow-go/uow/internal/wiretest"
)

// proxy stands between the store and the server.
type proxy = wiretest.Proxy[message]

// message is what passes the proxy.
type message struct {
	client bool // it comes from the client
	kind   byte
}

type verdict = wiretest.Verdict

const (
	forward   = wiretest.Forward
	cutBefore = wiretest.CutBefore
	cutAfter  = wiretest.CutAfter
	repeat    = wiretest.Alter // it comes twice
)

func newProxy(t testing.TB) *proxy {
	t.Helper()
	return wiretest.NewProxy(t, address(t), messages{})
}

// messages are those of the protocol. A round trip ends when the server is ready for the
// next query.
type messages struct{}

func (messages) Read(from io.Reader, client, first bool) (frame []byte, m message, known bool, err error) {
	known = !client || !first // the start-up message has no kind
	head := make([]byte, 4, 5)
	if known {
		head = head[:5]
	}
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, m, false, err
	}
	size := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
	frame = append(head, make([]byte, size)...)
	_, err = io.ReadFull(from, frame[len(head):])
	return frame, message{client, frame[0]}, known, err
}

func (messages) Trip(m message) bool { return !m.client && m.kind == 'Z' }

func (messages) Alter(frame []byte) []byte { return append(frame, frame...) }

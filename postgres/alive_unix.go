//go:build unix

package postgres

import (
	"crypto/tls"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// alive reports whether an idle connection can still be used, as far as this side
// knows, without a round trip: nothing must be there to read. What a server says to
// an idle connection is mostly that it ends.
func alive(c *pgx.Conn) bool {
	conn := c.PgConn().Conn()
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	// Not raw.Read: pgx may have left a reader on the connection, which has its lock
	// until something comes.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK || err == syscall.EINTR
	})
	return err == nil && quiet
}

package postgres

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// wire speaks the protocol on one connection, and knows the statements that it keeps.
// It does what pgconn.Pipeline does, without describing results, whose types are
// known, and without allocations.
type wire struct {
	conn  *pgconn.PgConn
	names map[string]bool
	// What follows is used again from trip to trip.
	buf     []byte
	kept    []bool // which steps' statements are new, and kept
	bind    pgproto3.Bind
	parse   pgproto3.Parse
	formats []int16
	// expire ends what waits for the connection, and tells so.
	expire  func()
	expired chan struct{}
}

const wireKey = "uow/postgres"

// The sizes in bytes of what is kept for the next trip, and of what is written while
// answers are read: the server may stop reading as long as nobody reads its own.
const (
	maxKept   = 512 << 10
	largeTrip = 16 << 10
)

// wireOf returns the wire of a connection.
func wireOf(c *pgx.Conn) *wire {
	data := c.PgConn().CustomData()
	w, ok := data[wireKey].(*wire)
	if !ok {
		w = &wire{conn: c.PgConn(), names: map[string]bool{}, formats: []int16{1}, expired: make(chan struct{}, 1)} // everything is binary
		conn := w.conn.Conn()
		w.expire = func() {
			_ = conn.SetDeadline(time.Unix(1, 0))
			w.expired <- struct{}{}
		}
		data[wireKey] = w
	}
	return w
}

// used reports whether a connection was used before, so that it may have died since.
func used(c *pgx.Conn) bool {
	_, ok := c.PgConn().CustomData()[wireKey]
	return ok
}

// send writes the steps and a Sync. wait, if there is one, is closed when that is
// done: what is large is written while the caller reads.
func (w *wire) send(steps []step, unprepared bool) (wait chan struct{}, err error) {
	if err := w.encode(steps, unprepared); err != nil {
		return nil, err
	}
	conn, buf := w.conn.Conn(), w.buf
	if len(buf) <= largeTrip {
		_, err := conn.Write(buf)
		return nil, err
	}
	return writeLater(conn, buf), nil
}

func writeLater(conn net.Conn, buf []byte) (wait chan struct{}) {
	wait = make(chan struct{})
	go func() {
		defer close(wait)
		if _, err := conn.Write(buf); err != nil {
			_ = conn.Close() // so that the read fails too
		}
	}()
	return wait
}

// encode fills the buffer, and notes which statements the connection will keep.
func (w *wire) encode(steps []step, unprepared bool) (err error) {
	if cap(w.buf) > maxKept {
		w.buf = nil
	}
	b, fresh := w.buf[:0], 0
	w.kept = w.kept[:0]
	for i := range steps {
		st := steps[i].statement
		named := st.name != "" && !unprepared
		known := named && (w.names[st.name] || fresh > 0 && parsedBefore(steps[:i], w.kept, st.name))
		if named && !known && len(w.names)+fresh >= maxPrepared {
			named = false
		}
		w.bind.PreparedStatement = ""
		if named {
			w.bind.PreparedStatement = st.name
		}
		w.kept = append(w.kept, named && !known)
		if !known {
			if named {
				fresh++
			}
			w.parse = pgproto3.Parse{Name: w.bind.PreparedStatement, Query: st.sql, ParameterOIDs: st.oids}
			if b, err = w.parse.Encode(b); err != nil {
				return err
			}
		}
		w.bind.ParameterFormatCodes, w.bind.ResultFormatCodes, w.bind.Parameters = w.formats, w.formats, nil
		if steps[i].args != nil {
			w.bind.Parameters = steps[i].args.values
		}
		if b, err = w.bind.Encode(b); err != nil {
			return err
		}
		b = append(b, 'E', 0, 0, 0, 9, 0, 0, 0, 0, 0) // Execute: all rows
	}
	w.bind.Parameters = nil
	w.buf = append(b, 'S', 0, 0, 0, 4) // Sync
	return nil
}

// parsedBefore reports whether an earlier step has parsed a statement.
func parsedBefore(steps []step, kept []bool, name string) bool {
	for i := range steps {
		if kept[i] && steps[i].statement.name == name {
			return true
		}
	}
	return false
}

// receive reads the answers up to the server's ReadyForQuery. Each step is bound once
// and completed once. Where that is not so, what comes would be taken for the answer of
// another step: nobody knows what the server has done.
func (w *wire) receive(steps []step) (failed int, err error) {
	var refused, mine error
	i, bound := 0, 0
	for {
		message, err := w.conn.ReceiveMessage(context.Background())
		if err != nil {
			w.abandon()
			if refused != nil { // it has said why
				err = refused
			}
			return i, err
		}
		if _, ok := message.(*pgproto3.BindComplete); ok {
			bound++
		}
		if isAnswer(message) && (bound != i+1 || i >= len(steps)) {
			return i, fmt.Errorf("postgres: the protocol is out of step: %T in answer %d of %d", message, i+1, len(steps))
		}
		switch m := message.(type) {
		case *pgproto3.ParseComplete:
			if i < len(steps) && w.kept[i] {
				w.names[steps[i].statement.name] = true
			}
		case *pgproto3.DataRow:
			if mine == nil {
				mine = steps[i].take(m.Values)
			}
		case *pgproto3.CommandComplete:
			steps[i].tag = tagOf(m.CommandTag)
			i++
		case *pgproto3.EmptyQueryResponse:
			i++
		case *pgproto3.ErrorResponse:
			if refused == nil {
				refused = pgconn.ErrorResponseToPgError(m)
			}
		case *pgproto3.ReadyForQuery:
			return w.outcome(i, len(steps), refused, mine)
		case *pgproto3.BindComplete, *pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		default:
			return i, fmt.Errorf("postgres: the protocol is out of step: %T", m)
		}
	}
}

// isAnswer reports whether a message belongs to one step.
func isAnswer(message pgproto3.BackendMessage) bool {
	switch message.(type) {
	case *pgproto3.BindComplete, *pgproto3.DataRow, *pgproto3.CommandComplete, *pgproto3.EmptyQueryResponse:
		return true
	}
	return false
}

func (w *wire) outcome(done, want int, refused, mine error) (failed int, err error) {
	switch {
	case refused != nil:
		return done, refused
	case done != want:
		return done, fmt.Errorf("postgres: the protocol is out of step: %d answers, want %d", done, want)
	case mine != nil:
		return done, errRow{mine}
	}
	return done, nil
}

// tagOf returns the tags that matter, without allocating.
func tagOf(tag []byte) string {
	for _, known := range [...]string{"COMMIT", "ROLLBACK", "SAVEPOINT"} {
		if string(tag) == known {
			return known
		}
	}
	return ""
}

// abandon closes a connection of which it is not known what it is doing, and tells
// the server to stop, without waiting for either.
func (w *wire) abandon() {
	if w.conn.IsClosed() {
		return
	}
	p := w.conn.StartPipeline(context.Background())
	p.SendDeallocate("") // is never sent
	_ = p.Close()        // closes what has requests that were not sent
}

package faultproxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Protocol knows where messages begin.
type Protocol interface {
	// reader returns what reads the messages of one direction of one connection.
	reader(fromClient bool) reader
}

// reader reads the next message.
type reader func(r *bufio.Reader) (frame []byte, m Message, err error)

// Message is what passes the proxy.
type Message struct {
	// Connection counts the proxy's connections, from 1.
	Connection int
	// FromClient tells who has sent it.
	FromClient bool
	// Kind names it: the message's name for PostgreSQL; the command's name, or
	// what the answer begins with, for MySQL.
	Kind string
	// Text is the SQL of Query and Parse, the tag of CommandComplete, the SQLSTATE
	// (MySQL: the number) of an error; else empty.
	Text string
	// First says that it is the first of its side, which opens the connection.
	First bool
	// Size is the number of its bytes.
	Size int
}

// String names the message, for reports.
func (m Message) String() string {
	from := "server"
	if m.FromClient {
		from = "client"
	}
	text := strings.Join(strings.Fields(m.Text), " ")
	if len(text) > 40 {
		text = text[:40] + "…"
	}
	return strings.TrimSpace(fmt.Sprintf("%s: %s %s", from, m.Kind, text))
}

// maxFrame is more than any test sends.
const maxFrame = 1 << 26

// Postgres is the protocol of PostgreSQL, version 3.
type Postgres struct{}

func (Postgres) reader(fromClient bool) reader {
	first := fromClient
	return func(r *bufio.Reader) (frame []byte, m Message, err error) {
		if first {
			first = false
			return postgresOpening(r)
		}
		head := make([]byte, 5)
		if _, err := io.ReadFull(r, head); err != nil {
			return nil, m, err
		}
		frame, err = rest(r, head, int64(binary.BigEndian.Uint32(head[1:]))-4)
		if err != nil {
			return nil, m, err
		}
		m.Kind, m.Text = postgresName(fromClient, head[0]), postgresText(fromClient, head[0], frame[5:])
		return frame, m, nil
	}
}

// postgresOpening reads what has no kind: StartupMessage and CancelRequest.
func postgresOpening(r *bufio.Reader) (frame []byte, m Message, err error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, m, err
	}
	frame, err = rest(r, head, int64(binary.BigEndian.Uint32(head))-4)
	if err != nil || len(frame) < 8 {
		return nil, m, fmt.Errorf("faultproxy: the opening message is wrong: %w", err)
	}
	m.Kind, m.First = "StartupMessage", true
	switch binary.BigEndian.Uint32(frame[4:]) {
	case 80877102:
		m.Kind = "CancelRequest"
	case 80877103, 80877104:
		return nil, m, fmt.Errorf("faultproxy: encryption is not supported: use sslmode=disable")
	}
	return frame, m, nil
}

func postgresName(fromClient bool, kind byte) string {
	names := map[byte]string{
		'1': "ParseComplete", '2': "BindComplete", '3': "CloseComplete", 'A': "NotificationResponse",
		'C': "CommandComplete", 'c': "CopyDone", 'D': "DataRow", 'd': "CopyData", 'E': "ErrorResponse", 'G': "CopyInResponse", 'H': "CopyOutResponse", 'W': "CopyBothResponse",
		'I': "EmptyQueryResponse", 'K': "BackendKeyData", 'N': "NoticeResponse", 'n': "NoData",
		'R': "Authentication", 'S': "ParameterStatus", 's': "PortalSuspended",
		'T': "RowDescription", 't': "ParameterDescription", 'Z': "ReadyForQuery",
	}
	if fromClient {
		names = map[byte]string{
			'B': "Bind", 'C': "Close", 'c': "CopyDone", 'd': "CopyData", 'D': "Describe", 'E': "Execute",
			'f': "CopyFail", 'H': "Flush", 'P': "Parse", 'p': "PasswordMessage", 'Q': "Query", 'S': "Sync", 'X': "Terminate",
		}
	}
	if name, ok := names[kind]; ok {
		return name
	}
	return fmt.Sprintf("%q", kind)
}

func postgresText(fromClient bool, kind byte, body []byte) string {
	switch {
	case fromClient && kind == 'Q', !fromClient && kind == 'C':
		return untilNUL(body)
	case fromClient && kind == 'P':
		if _, sql, ok := bytes.Cut(body, []byte{0}); ok {
			return untilNUL(sql)
		}
	case !fromClient && kind == 'E':
		for _, field := range bytes.Split(body, []byte{0}) {
			if len(field) > 1 && field[0] == 'C' {
				return string(field[1:])
			}
		}
	}
	return ""
}

func untilNUL(b []byte) string {
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text)
}

// MySQL is the protocol of MySQL and MariaDB, whose messages are packets.
type MySQL struct{}

func (MySQL) reader(fromClient bool) reader {
	first := true
	return func(r *bufio.Reader) (frame []byte, m Message, err error) {
		head := make([]byte, 4)
		if _, err := io.ReadFull(r, head); err != nil {
			return nil, m, err
		}
		size := int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16
		frame, err = rest(r, head, size)
		if err != nil {
			return nil, m, err
		}
		switch body := frame[4:]; {
		case first:
			m.Kind, m.First, first = "Handshake", true, false
		case fromClient:
			m.Kind, m.Text = mysqlCommand(head[3], body)
		default:
			m.Kind, m.Text = mysqlAnswer(body)
		}
		return frame, m, nil
	}
}

func mysqlCommand(sequence byte, body []byte) (kind, text string) {
	if sequence != 0 || len(body) == 0 {
		return "Data", ""
	}
	names := map[byte]string{
		1: "Quit", 2: "InitDB", 3: "Query", 14: "Ping", 22: "Prepare", 23: "Execute",
		24: "SendLongData", 25: "CloseStatement", 26: "ResetStatement", 31: "ResetConnection",
	}
	kind, ok := names[body[0]]
	if !ok {
		kind = fmt.Sprintf("Command %d", body[0])
	}
	if kind == "Query" || kind == "Prepare" {
		text = string(body[1:])
	}
	return kind, text
}

func mysqlAnswer(body []byte) (kind, text string) {
	switch {
	case len(body) == 0:
		return "Empty", ""
	case body[0] == 0:
		return "OK", ""
	case body[0] == 0xff && len(body) >= 3:
		return "Error", fmt.Sprint(binary.LittleEndian.Uint16(body[1:]))
	case body[0] == 0xfe && len(body) < 9:
		return "EOF", ""
	}
	return "Data", ""
}

// rest reads a message's size bytes behind its head.
func rest(r io.Reader, head []byte, size int64) ([]byte, error) {
	if size < 0 || size > maxFrame {
		return nil, fmt.Errorf("faultproxy: a message has %d bytes", size)
	}
	frame := append(head, make([]byte, size)...)
	_, err := io.ReadFull(r, frame[len(head):])
	return frame, err
}

package sqlite

import (
	"encoding/json"
	"strings"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

// entry is a message to be inserted, with its place in its stream, and the position that
// it gets.
type entry struct {
	message  *driver.Message
	sequence int64
	position int64
}

const (
	insertMessages = `INSERT INTO uow_outbox (position, id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, headers, created_at, payload) VALUES `
	messageMarks   = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	messageColumns = 11
	// maxRows is the greatest number of messages in one statement.
	maxRows = 32

	selectMessages = `SELECT m.position, m.id, m.topic, m.ordering_key, m.type, m.aggregatetype, m.aggregateid, m.sequence, m.headers, m.created_at, m.payload`
)

// jsonHeaders is what most messages have, and what is not worth encoding each
// time.
const jsonHeaders = `{"content-type":"application/json"}`

// insertBatch inserts the messages of a whole group, in its order, with as few
// statements as go without preparing a new one for every number.
func (w *writer) insertBatch() error {
	if err := w.insertDelayed(); err != nil {
		return wrap("delay messages", err)
	}
	if len(w.batch) == 0 {
		return nil
	}
	if err := w.claimPosition(); err != nil {
		return wrap("append to the outbox", err)
	}
	rest := w.batch
	for size := maxRows; len(rest) > 0; {
		if size > len(rest) {
			size /= 2
			continue
		}
		if err := w.insertRows(rest[:size]); err != nil {
			return wrap("append to the outbox", err)
		}
		rest = rest[size:]
	}
	return nil
}

// keepRecent keeps what was committed for the relays of this process, which need not read
// it then.
func (w *writer) keepRecent() {
	defer clear(w.batch)
	s := w.store
	if s.options.Synchronous != Full || !s.subscribers.Any() {
		w.recent = false
		return
	}
	messages := make([]driver.Message, len(w.batch))
	for i := range w.batch {
		e := &w.batch[i]
		messages[i] = *e.message
		messages[i].Position, messages[i].Sequence = e.position, e.sequence
	}
	s.recent.Add(messages)
}

// claimPosition makes sure that the next position is one that was never given: the
// newest messages may have been trimmed. Then, and only then, the first message of
// the batch gets its position from here.
func (w *writer) claimPosition() error {
	w.position = 0
	trimmed, _, err := w.conn.integer(`SELECT last FROM uow_outbox_state WHERE last > 0`)
	if err != nil || trimmed == 0 {
		return err
	}
	newest, _, err := w.conn.integer(`SELECT max(position) FROM uow_outbox`)
	if err == nil && newest < trimmed {
		w.position = trimmed + 1
	}
	return err
}

func (w *writer) insertRows(rows []entry) error {
	args := w.conn.values(len(rows) * messageColumns)
	for i := range rows {
		m := rows[i].message
		headers, err := encodeHeaders(m.Headers)
		if err != nil {
			return err
		}
		args = append(args, w.nextPosition(i), m.ID, m.Topic, m.Key, m.Type, m.AggregateType, m.AggregateID,
			rows[i].sequence, headers, micros(m.CreatedAt), m.Payload)
	}
	last, err := w.conn.insert(w.insertStatement(len(rows)), args...)
	w.position, w.appended = 0, max(w.appended, last)
	for i := range rows {
		rows[i].position = last - int64(len(rows)-1-i)
	}
	return err
}

// nextPosition is the position of a message, or NULL to have SQLite give the next.
func (w *writer) nextPosition(i int) sqldriver.Value {
	if w.position == 0 {
		return nil
	}
	return w.position + int64(i)
}

// insertStatement returns the statement for a number of rows.
func (w *writer) insertStatement(rows int) string {
	if w.inserts[rows] == "" {
		w.inserts[rows] = insertMessages + messageMarks + strings.Repeat(", "+messageMarks, rows-1)
	}
	return w.inserts[rows]
}

func encodeHeaders(headers map[string]string) (sqldriver.Value, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	if len(headers) == 1 && headers["content-type"] == "application/json" {
		return jsonHeaders, nil
	}
	encoded, err := json.Marshal(headers)
	return string(encoded), err
}

func decodeHeaders(encoded string) (headers map[string]string, err error) {
	switch encoded {
	case "":
		return nil, nil
	case jsonHeaders:
		return map[string]string{"content-type": "application/json"}, nil
	}
	err = json.Unmarshal([]byte(encoded), &headers)
	return headers, err
}

// decodeMessage reads the columns of selectMessages.
func decodeMessage(row []sqldriver.Value) (driver.Message, error) {
	headers, err := decodeHeaders(text(row[8]))
	return driver.Message{
		Position:      number(row[0]),
		ID:            text(row[1]),
		Topic:         text(row[2]),
		Key:           text(row[3]),
		Type:          text(row[4]),
		AggregateType: text(row[5]),
		AggregateID:   text(row[6]),
		Sequence:      number(row[7]),
		Headers:       headers,
		CreatedAt:     fromMicros(number(row[9])),
		Payload:       blob(row[10]),
	}, err
}

package files

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/mvcc"
	"github.com/uow-go/uow/outbox"
)

// entry is what one unit, or one operation of the log, changes, as the journal has
// it.
type entry struct {
	unit string
	rows []*image
	log  mvcc.Change // without rows
}

// record is what is written to the journal at once. Its number is one more than
// that of the record before.
type record struct {
	number  int64
	entries []entry
}

// The forms in JSON.
type (
	recordJSON struct {
		Number  int64       `json:"record"`
		Entries []entryJSON `json:"changes"`
	}
	entryJSON struct {
		Unit     text          `json:"unit"`
		Rows     []rowJSON     `json:"rows"`
		Messages []messageJSON `json:"messages"`
		Cursors  []cursorJSON  `json:"cursors"`
		Trimmed  []int64       `json:"trimmed"`
		Delayed  []messageJSON `json:"delayed"`
		Promoted []int64       `json:"promoted"`
	}
	rowJSON struct {
		header
		Body     json.RawMessage `json:"body"`
		BodyText *text           `json:"bodyText"`
	}
	messageJSON struct {
		Position      int64           `json:"position"`
		ID            text            `json:"id"`
		Topic         text            `json:"topic"`
		Key           text            `json:"key"`
		Type          text            `json:"type"`
		AggregateType text            `json:"aggregateType"`
		AggregateID   text            `json:"aggregateId"`
		Sequence      int64           `json:"sequence"`
		CreatedAt     instant         `json:"createdAt"`
		At            instant         `json:"at"`
		Headers       headers         `json:"headers"`
		Payload       json.RawMessage `json:"payload"`
		PayloadText   *text           `json:"payloadText"`
	}
	cursorJSON struct {
		Name     text       `json:"name"`
		Dropped  bool       `json:"dropped,omitempty"`
		Position int64      `json:"position"`
		Epoch    int64      `json:"epoch"`
		Split    int        `json:"split,omitempty"`
		Hold     []holdJSON `json:"hold,omitempty"`
		Gone     []int64    `json:"gone,omitempty"`
	}
	holdJSON struct {
		Position int64   `json:"position"`
		Key      text    `json:"key"`
		State    text    `json:"state"`
		Attempts int     `json:"attempts"`
		NextAt   instant `json:"nextAt"`
		Reason   text    `json:"reason"`
		Since    instant `json:"since"`
	}
)

// encode returns the payload of a record's line.
func (r *record) encode() ([]byte, error) {
	out := strconv.AppendInt([]byte(`{"record":`), r.number, 10)
	out = append(out, `,"changes":[`...)
	for i := range r.entries {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = r.entries[i].append(out); err != nil {
			return nil, err
		}
	}
	return append(out, "]}"...), nil
}

func (e *entry) append(out []byte) ([]byte, error) {
	out = appendText(append(out, `{"unit":`...), e.unit)
	for i, r := range e.rows {
		out = append(out, listBegin(i, "rows")...)
		out = append(appendBlob(r.appendHeader(out), "body", r.body), '}')
	}
	out = append(out, listEnd(len(e.rows))...)
	var err error
	if out, err = appendMessages(out, "messages", e.log.Messages); err != nil {
		return nil, err
	}
	if out, err = appendMessages(out, "delayed", e.log.Delayed); err != nil {
		return nil, err
	}
	if len(e.log.Cursors) > 0 {
		data, err := json.Marshal(cursorsJSON(e.log.Cursors))
		if err != nil {
			return nil, err
		}
		out = append(append(out, `,"cursors":`...), data...)
	}
	out = appendNumbers(out, "trimmed", e.log.Trimmed)
	return append(appendNumbers(out, "promoted", e.log.Promoted), '}'), nil
}

func appendMessages(out []byte, name string, messages []driver.Message) ([]byte, error) {
	for i := range messages {
		out = append(out, listBegin(i, name)...)
		var err error
		if out, err = appendMessage(out, &messages[i]); err != nil {
			return nil, err
		}
	}
	return append(out, listEnd(len(messages))...), nil
}

func appendNumbers(out []byte, name string, numbers []int64) []byte {
	for i, n := range numbers {
		out = strconv.AppendInt(append(out, listBegin(i, name)...), n, 10)
	}
	return append(out, listEnd(len(numbers))...)
}

func listBegin(i int, name string) string {
	if i > 0 {
		return ","
	}
	return `,"` + name + `":[`
}

func listEnd(n int) string {
	if n > 0 {
		return "]"
	}
	return ""
}

func appendMessage(out []byte, m *driver.Message) ([]byte, error) {
	out = strconv.AppendInt(append(out, `{"position":`...), m.Position, 10)
	for _, member := range [...]struct{ name, value string }{
		{"id", m.ID}, {"topic", m.Topic}, {"key", m.Key}, {"type", m.Type},
		{"aggregateType", m.AggregateType}, {"aggregateId", m.AggregateID},
	} {
		if member.value != "" {
			out = append(append(append(out, `,"`...), member.name...), `":`...)
			out = appendText(out, member.value)
		}
	}
	out = strconv.AppendInt(append(out, `,"sequence":`...), m.Sequence, 10)
	out = appendTime(append(out, `,"createdAt":`...), m.CreatedAt)
	if !m.At.IsZero() {
		out = appendTime(append(out, `,"at":`...), m.At)
	}
	if m.Headers != nil {
		data, err := headers(m.Headers).MarshalJSON()
		if err != nil {
			return nil, err
		}
		out = append(append(out, `,"headers":`...), data...)
	}
	return append(appendBlob(out, "payload", m.Payload), '}'), nil
}

func (m *messageJSON) message() driver.Message {
	return driver.Message{
		Position:      m.Position,
		ID:            string(m.ID),
		Topic:         string(m.Topic),
		Key:           string(m.Key),
		Type:          string(m.Type),
		AggregateType: string(m.AggregateType),
		AggregateID:   string(m.AggregateID),
		Sequence:      m.Sequence,
		CreatedAt:     m.CreatedAt.Time,
		At:            m.At.Time,
		Headers:       m.Headers,
		Payload:       blob(m.Payload, m.PayloadText),
	}
}

func cursorsJSON(changes []mvcc.CursorChange) []cursorJSON {
	out := make([]cursorJSON, len(changes))
	for i, c := range changes {
		out[i] = cursorJSON{Name: text(c.Name), Dropped: c.Dropped, Position: c.Position, Epoch: c.Epoch, Split: c.Split, Gone: c.Gone}
		for _, h := range c.Hold {
			out[i].Hold = append(out[i].Hold, holdJSON{
				Position: h.Position,
				Key:      text(h.Key),
				State:    text(h.State),
				Attempts: h.Attempts,
				NextAt:   instant{h.NextAt},
				Reason:   text(h.Reason),
				Since:    instant{h.Since},
			})
		}
	}
	return out
}

func (c *cursorJSON) change() mvcc.CursorChange {
	out := mvcc.CursorChange{Name: string(c.Name), Dropped: c.Dropped, Position: c.Position, Epoch: c.Epoch, Split: c.Split, Gone: c.Gone}
	for _, h := range c.Hold {
		out.Hold = append(out.Hold, outbox.Hold{
			Position: h.Position,
			Key:      string(h.Key),
			State:    outbox.HoldState(h.State),
			Attempts: h.Attempts,
			NextAt:   h.NextAt.Time,
			Reason:   string(h.Reason),
			Since:    h.Since.Time,
		})
	}
	return out
}

// decodeRecord returns the record of a payload.
func decodeRecord(payload []byte) (*record, error) {
	var in recordJSON
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r := &record{number: in.Number, entries: make([]entry, len(in.Entries))}
	for i := range in.Entries {
		from, to := &in.Entries[i], &r.entries[i]
		to.unit = string(from.Unit)
		for j := range from.Rows {
			row := from.Rows[j].image()
			row.body = blob(from.Rows[j].Body, from.Rows[j].BodyText)
			if row.collection == "" || row.indexes == nil && !row.removed {
				return nil, fmt.Errorf("%w: row %d of change %d has no collection or no values", ErrDamaged, j, i)
			}
			to.rows = append(to.rows, row)
		}
		for j := range from.Messages {
			to.log.Messages = append(to.log.Messages, from.Messages[j].message())
		}
		for j := range from.Cursors {
			to.log.Cursors = append(to.log.Cursors, from.Cursors[j].change())
		}
		for j := range from.Delayed {
			to.log.Delayed = append(to.log.Delayed, from.Delayed[j].message())
		}
		to.log.Trimmed, to.log.Promoted = from.Trimmed, from.Promoted
	}
	return r, nil
}

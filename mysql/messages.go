package mysql

import (
	"encoding/json"
	"fmt"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

const messageColumns = "id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, headers, CAST(created_at AS CHAR), payload"

// messages appends the statements that append the change set's messages, in their
// order.
func (p *plan) messages(s *script) {
	all, delayed := driver.Apart(p.cs.Messages)
	for i := range delayed {
		p.delay(s, &delayed[i])
	}
	for len(all) > 0 {
		s.add("INSERT INTO ", p.store.schema, "uow_outbox (id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, headers, created_at, payload) VALUES ")
		start, n := len(s.b), 0
		for n < len(all) && n < bunch && len(s.b)-start < p.store.maxPacket/4 {
			if n > 0 {
				s.add(", ")
			}
			p.message(s, &all[n])
			n++
		}
		s.end()
		all = all[n:]
	}
}

func (p *plan) message(s *script, m *driver.Message) {
	headers, err := encodeHeaders(m.Headers)
	if err != nil {
		s.fail(fmt.Errorf("mysql: message %s: headers: %w", m.ID, err))
	}
	s.add("(").text(m.ID, maxID).add(", ").text(m.Topic, maxKey).add(", ").text(m.Key, maxKey).add(", ").text(m.Type, maxID).
		add(", ").text(m.AggregateType, maxID).add(", ").text(m.AggregateID, maxID).add(", ")
	if t, w := p.goesOn(m); w != nil {
		// The row, which was inserted before, knows what its sequence has gone on from.
		if t.sequence != "" {
			t.id(s.add("(SELECT ", t.sequence, " FROM ", t.name, " WHERE ", t.key, " = "), w.ID)
		} else {
			s.add("(SELECT sequence FROM ", p.store.schema, "uow_tombstones WHERE collection = ").quoted(t.desc.Name).add(" AND id = ").id(w.ID)
		}
		s.add(") - ").int(w.Sequence - m.Sequence)
	} else {
		s.int(m.Sequence)
	}
	s.add(", ").bytes(headers).add(", ").time(m.CreatedAt).add(", ").bytes(m.Payload).add(")")
}

// goesOn returns the inserted row that a message's sequence may have to go on from.
func (p *plan) goesOn(m *driver.Message) (*table, *driver.Write) {
	if m.Write == 0 || m.Write > len(p.cs.Writes) {
		return nil, nil
	}
	w := &p.cs.Writes[m.Write-1]
	if t := p.store.tables[w.Collection]; w.Op == driver.Insert && t.remember {
		return t, w
	}
	return nil, nil
}

// jsonHeaders is what most messages have, and what is not worth encoding each time.
const jsonHeaders = `{"content-type":"application/json"}`

func encodeHeaders(headers map[string]string) ([]byte, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	if len(headers) == 1 && headers["content-type"] == "application/json" {
		return []byte(jsonHeaders), nil
	}
	return json.Marshal(headers)
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

// decodeMessage reads the columns of messageColumns.
func decodeMessage(position int64, row []sqldriver.Value) (driver.Message, error) {
	headers, err := decodeHeaders(text(row[7]))
	return driver.Message{
		Position:      position,
		ID:            text(row[0]),
		Topic:         text(row[1]),
		Key:           text(row[2]),
		Type:          text(row[3]),
		AggregateType: text(row[4]),
		AggregateID:   text(row[5]),
		Sequence:      number(row[6]),
		Headers:       headers,
		CreatedAt:     timeOf(row[8]).Round(time.Microsecond),
		Payload:       blob(row[9]),
	}, err
}

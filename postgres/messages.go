package postgres

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uow-go/uow/driver"
)

// messages plans the append of the change set's messages, in their order.
func (p *plan) messages() {
	all, delayed := driver.Apart(p.cs.Messages)
	if len(delayed) > 0 {
		p.delay(delayed)
	}
	if len(all) == 0 {
		return
	}
	shifted := false
	for i := range all {
		_, _, ok := p.store.grave(p.cs, &all[i])
		shifted = shifted || ok
	}
	switch sql := p.store.sql; {
	case shifted:
		a := newArgs(12).messages(pointers(all))
		for _, part := range []int{0, 1} {
			a.array(pgtype.TextOID, len(all), func(b []byte, i int) ([]byte, bool) {
				collection, id, ok := p.store.grave(p.cs, &all[i])
				return append(b, [2]string{collection, id}[part]...), ok
			})
		}
		p.steps = append(p.steps, step{statement: sql.appendShifted, args: a})
	case len(all) == 1:
		p.steps = append(p.steps, step{statement: sql.appendOne, args: p.mem.newArgs(11).message(&all[0])})
		p.giveTo(all)
	default:
		p.steps = append(p.steps, step{statement: sql.appendMany, args: newArgs(10).messages(pointers(all))})
		p.giveTo(all)
	}
}

// mark plans the unit's marker, which goes along with a single message.
func (p *plan) mark() {
	sql := p.store.sql
	if p.marked {
		return
	}
	p.marked = true
	if n := len(p.steps); n > 0 && (p.steps[n-1].statement == sql.appendOne || p.steps[n-1].statement == sql.appendOne.tells) {
		last := &p.steps[n-1]
		last.statement = sql.markOne
		last.giveTo(last.given)
		last.args.unit(p.cs.Unit)
		return
	}
	p.steps = append(p.steps, step{statement: sql.mark, args: p.mem.newArgs(1).unit(p.cs.Unit)})
}

func pointers(all []driver.Message) []*driver.Message {
	list := make([]*driver.Message, len(all))
	for i := range all {
		list[i] = &all[i]
	}
	return list
}

// grave names the deleted row that a message's sequence may have to go on from.
func (s *Store) grave(cs *driver.ChangeSet, m *driver.Message) (collection, id string, ok bool) {
	if m.Write == 0 || m.Write > len(cs.Writes) {
		return "", "", false
	}
	w := &cs.Writes[m.Write-1]
	if w.Op != driver.Insert || s.tables[w.Collection].desc.Disposable {
		return "", "", false
	}
	return w.Collection, w.ID, true
}

// messages appends messages as arrays of the parameters of messageColumns.
func (a *args) messages(all []*driver.Message) *args {
	n := len(all)
	for _, at := range []func(m *driver.Message) string{
		func(m *driver.Message) string { return m.ID },
		func(m *driver.Message) string { return m.Topic },
		func(m *driver.Message) string { return m.Key },
		func(m *driver.Message) string { return m.Type },
		func(m *driver.Message) string { return m.AggregateType },
		func(m *driver.Message) string { return m.AggregateID },
	} {
		a.texts(n, func(i int) string { return at(all[i]) })
	}
	a.ints(n, func(i int) int64 { return all[i].Sequence })
	a.array(pgtype.JSONOID, n, func(b []byte, i int) ([]byte, bool) { return a.appendHeaders(b, all[i]), len(all[i].Headers) > 0 })
	a.array(pgtype.TimestamptzOID, n, func(b []byte, i int) ([]byte, bool) { return appendTime(b, all[i].CreatedAt), true })
	return a.blobs(pgtype.ByteaOID, n, func(i int) []byte { return all[i].Payload })
}

// jsonHeaders is what most messages have, and what is not worth encoding each time.
const jsonHeaders = `{"content-type":"application/json"}`

// message appends a message as the parameters of messageColumns.
func (a *args) message(m *driver.Message) *args {
	a.text(m.ID).text(m.Topic).text(m.Key).text(m.Type).text(m.AggregateType).text(m.AggregateID).int(m.Sequence)
	if len(m.Headers) == 0 {
		a.null()
	} else {
		start := len(a.buf)
		a.buf = a.appendHeaders(a.buf, m)
		a.values = append(a.values, a.buf[start:len(a.buf):len(a.buf)])
	}
	return a.time(m.CreatedAt).bytes(m.Payload)
}

func (a *args) appendHeaders(b []byte, m *driver.Message) []byte {
	switch {
	case len(m.Headers) == 0:
		return b
	case len(m.Headers) == 1 && m.Headers["content-type"] == "application/json":
		return append(b, jsonHeaders...)
	}
	encoded, err := json.Marshal(m.Headers)
	if err != nil && a.err == nil {
		a.err = fmt.Errorf("postgres: message %s: headers: %w", m.ID, err)
	}
	return append(b, encoded...)
}

func decodeHeaders(encoded []byte) (headers map[string]string, err error) {
	switch string(encoded) {
	case "":
		return nil, nil
	case jsonHeaders:
		return map[string]string{"content-type": "application/json"}, nil
	}
	err = json.Unmarshal(encoded, &headers)
	return headers, err
}

// decodeMessage reads the columns of messageColumns. The texts share their memory.
func decodeMessage(position int64, row [][]byte) (driver.Message, error) {
	headers, err := decodeHeaders(row[7])
	m := driver.Message{
		Position:  position,
		Sequence:  number(row[6]),
		Headers:   headers,
		CreatedAt: timeOf(row[8]).Round(time.Microsecond),
		Payload:   blob(row[9]),
	}
	size := 0
	for _, text := range row[:6] {
		size += len(text)
	}
	var b strings.Builder
	b.Grow(size)
	for _, text := range row[:6] {
		b.Write(text)
	}
	all := b.String()
	for i, to := range [...]*string{&m.ID, &m.Topic, &m.Key, &m.Type, &m.AggregateType, &m.AggregateID} {
		n := len(row[i])
		*to, all = all[:n], all[n:]
	}
	return m, err
}

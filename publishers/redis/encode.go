package redis

import (
	"fmt"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// Names of an entry's fields.
const (
	dataField       = "data"
	attributePrefix = "ce_"
	headerPrefix    = "header_"
)

// encode returns the stream of a message, and its fields: names and values by turns.
func (p *Publisher) encode(m outbox.Message) (stream string, fields []any, err error) {
	stream = p.cfg.Stream(m)
	switch {
	case stream == "":
		return "", nil, fmt.Errorf("redis: the message %.40q has no stream", m.ID)
	case len(m.Payload) > p.cfg.MaxPayload:
		return "", nil, fmt.Errorf("redis: a payload of %d bytes is too large: MaxPayload is %d", len(m.Payload), p.cfg.MaxPayload)
	}
	fields = make([]any, 0, 24)
	fields = append(fields, dataField, m.Payload)
	err = cloudevents.Write(p.cfg.Source, m, cloudevents.Writer{
		Attribute: func(name, value string) { fields = append(fields, attributePrefix+name, value) },
		Header:    func(name, value string) { fields = append(fields, headerPrefix+name, value) },
	})
	if err != nil {
		return "", nil, fmt.Errorf("redis: %w", err)
	}
	return stream, fields, nil
}

package kafka

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// prefix begins the headers that are attributes of the event.
const prefix = "ce_"

// overhead is more than a batch and a record have besides their contents; lengthBytes
// is what lengths of a header take at most.
const (
	overhead    = 512
	lengthBytes = 10
)

// encode makes what is sent of a message.
func (p *Publisher) encode(m outbox.Message) (*kgo.Record, error) {
	record := &kgo.Record{Topic: p.cfg.Topic(m), Value: m.Payload, Headers: make([]kgo.RecordHeader, 0, 12)}
	if record.Topic == "" {
		return nil, errors.New("kafka: the message has no topic")
	}
	if m.Key != "" {
		record.Key = []byte(m.Key)
	}
	size := overhead + len(record.Topic) + len(m.Key) + len(m.Payload)
	add := func(name, value string) {
		size += lengthBytes + len(name) + len(value)
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	var bad error
	err := cloudevents.Write(p.cfg.Source, m, cloudevents.Writer{
		Attribute: func(name, value string) { add(prefix+name, value) },
		Header: func(name, value string) {
			if strings.HasPrefix(name, prefix) || !utf8.ValidString(name) {
				bad = fmt.Errorf("kafka: the header %q can't be sent: its name is the publisher's own, or no text", name)
			}
			add(name, value)
		},
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("kafka: %w", err)
	case bad != nil:
		return nil, bad
	case size > int(p.cfg.MaxBatchBytes):
		return nil, fmt.Errorf("kafka: a message with a payload of %d bytes is too large: MaxBatchBytes is %d", len(m.Payload), p.cfg.MaxBatchBytes)
	}
	return record, nil
}

package kafka

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// Decode makes a message of what was published by this package, as a consumer gets it.
// Its Position is not known.
func Decode(record *kgo.Record) outbox.Message {
	attributes, headers := parts(record)
	return cloudevents.Read(attributes, headers, record.Value)
}

// decode is Decode for what may be none of this package's: consumer.ErrMalformed.
func decode(record *kgo.Record) (consumer.Message, error) {
	attributes, headers := parts(record)
	source, m, err := cloudevents.Parse(attributes, headers, record.Value)
	if err != nil {
		return consumer.Message{Message: outbox.Message{Payload: record.Value}}, fmt.Errorf("%w: %w", consumer.ErrMalformed, err)
	}
	return consumer.Message{Message: m, Source: source}, nil
}

// DeadReason returns why a message was refused that is read from a DeadTopic.
func DeadReason(record *kgo.Record) string {
	for _, h := range record.Headers {
		if h.Key == headerReason {
			return string(h.Value)
		}
	}
	return ""
}

func parts(record *kgo.Record) (attributes, headers map[string]string) {
	attributes, headers = map[string]string{}, map[string]string{}
	for _, h := range record.Headers {
		if name, ok := strings.CutPrefix(h.Key, prefix); ok {
			attributes[name] = string(h.Value)
		} else {
			headers[h.Key] = string(h.Value)
		}
	}
	return attributes, headers
}

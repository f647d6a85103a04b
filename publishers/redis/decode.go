package redis

import (
	"errors"
	"fmt"
	"strings"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// Decode makes a message of what was published by this package, as a consumer gets it
// (XMessage.Values). Its Position is not known.
func Decode(values map[string]any) outbox.Message {
	attributes, headers, data := parts(values)
	return cloudevents.Read(attributes, headers, data)
}

// errTrimmed is why there is nothing left of an entry.
var errTrimmed = errors.New("redis: the entry was trimmed or deleted before it was handled")

// decode is Decode for what may be none of this package's: consumer.ErrMalformed.
func decode(values map[string]any) (consumer.Message, error) {
	if values == nil {
		return consumer.Message{}, errTrimmed
	}
	attributes, headers, data := parts(values)
	source, m, err := cloudevents.Parse(attributes, headers, data)
	if err != nil {
		return consumer.Message{Message: outbox.Message{Payload: data}}, fmt.Errorf("%w: %w", consumer.ErrMalformed, err)
	}
	return consumer.Message{Message: m, Source: source}, nil
}

// DeadReason returns why a message was refused that is read from a DeadStream.
func DeadReason(values map[string]any) string {
	reason, _ := values[reasonField].(string)
	return reason
}

func parts(values map[string]any) (attributes, headers map[string]string, data []byte) {
	attributes, headers = map[string]string{}, map[string]string{}
	for field, value := range values {
		text, _ := value.(string)
		if field == dataField {
			data = []byte(text)
		} else if name, ok := strings.CutPrefix(field, attributePrefix); ok {
			attributes[name] = text
		} else if name, ok := strings.CutPrefix(field, headerPrefix); ok {
			headers[name] = text
		}
	}
	return attributes, headers, data
}

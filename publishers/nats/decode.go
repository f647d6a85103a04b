package nats

import (
	"fmt"
	"strings"

	client "github.com/nats-io/nats.go"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// Decode makes a message of what was published by this package, as a consumer gets it.
// Its Position is not known.
func Decode(header client.Header, data []byte) outbox.Message {
	attributes, headers := parts(header)
	return cloudevents.Read(attributes, headers, data)
}

// decode is Decode for what may be none of this package's: consumer.ErrMalformed.
func decode(header client.Header, data []byte) (consumer.Message, error) {
	attributes, headers := parts(header)
	source, m, err := cloudevents.Parse(attributes, headers, data)
	if err != nil {
		return consumer.Message{Message: outbox.Message{Payload: data}}, fmt.Errorf("%w: %w", consumer.ErrMalformed, err)
	}
	return consumer.Message{Message: m, Source: source}, nil
}

// DeadReason returns why a message was refused that is read from a DeadSubject.
func DeadReason(header client.Header) string { return cloudevents.Decode(header.Get(headerReason)) }

func parts(header client.Header) (attributes, headers map[string]string) {
	attributes, headers = map[string]string{}, map[string]string{}
	for name := range header {
		value := header.Get(name)
		switch attribute, ok := strings.CutPrefix(name, prefix); {
		case ok:
			attributes[attribute] = cloudevents.Decode(value)
		case !reserved(name):
			headers[name] = value
		}
	}
	return attributes, headers
}

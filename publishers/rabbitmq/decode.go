package rabbitmq

import (
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// Decode makes a message of what was published by this package, as a consumer gets it.
// Its Position is not known. Headers that the broker adds are left out when they are
// no texts.
func Decode(d amqp.Delivery) outbox.Message {
	attributes, headers := parts(d)
	return cloudevents.Read(attributes, headers, d.Body)
}

// decode is Decode for what may be none of this package's: consumer.ErrMalformed.
func decode(d amqp.Delivery) (consumer.Message, error) {
	attributes, headers := parts(d)
	source, m, err := cloudevents.Parse(attributes, headers, d.Body)
	if err != nil {
		return consumer.Message{Message: outbox.Message{Payload: d.Body}}, fmt.Errorf("%w: %w", consumer.ErrMalformed, err)
	}
	return consumer.Message{Message: m, Source: source}, nil
}

// DeadReason returns why a message was refused that is read from where such messages go.
func DeadReason(d amqp.Delivery) string {
	reason, _ := d.Headers[headerReason].(string)
	return reason
}

func parts(d amqp.Delivery) (attributes, headers map[string]string) {
	attributes, headers = map[string]string{}, map[string]string{}
	for name, value := range d.Headers {
		text, ok := value.(string)
		if !ok {
			continue
		}
		if attribute, ok := strings.CutPrefix(name, prefix); ok {
			attributes[attribute] = text
		} else {
			headers[name] = text
		}
	}
	if d.ContentType != "" {
		headers[cloudevents.ContentType] = d.ContentType
	}
	return attributes, headers
}

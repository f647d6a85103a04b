package rabbitmq

import (
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// prefix begins the headers that are attributes of the event.
const prefix = "cloudEvents_"

// maxShort is the most bytes of what the protocol calls a short string.
const maxShort = 255

// encode makes what is sent of a message.
func (p *Publisher) encode(m outbox.Message) (key string, encoded amqp.Publishing, err error) {
	encoded = amqp.Publishing{
		Headers: amqp.Table{}, DeliveryMode: amqp.Persistent,
		MessageId: m.ID, Type: m.Type, Timestamp: m.CreatedAt, Body: m.Payload,
	}
	key = p.cfg.RoutingKey(m)
	if len(m.Payload) > p.cfg.MaxPayload {
		return key, encoded, fmt.Errorf("rabbitmq: a payload of %d bytes is too large: MaxPayload is %d", len(m.Payload), p.cfg.MaxPayload)
	}
	var bad error
	err = cloudevents.Write(p.cfg.Source, m, cloudevents.Writer{
		Attribute: func(name, value string) { encoded.Headers[prefix+name] = value },
		Header: func(name, value string) {
			switch {
			case name == cloudevents.ContentType && len(value) <= maxShort:
				encoded.ContentType = value
			case reserved(name) || name == cloudevents.ContentType:
				bad = fmt.Errorf("rabbitmq: the header %q can't be sent: it means something to the broker, is the publisher's own, or is too long", name)
			default:
				encoded.Headers[name] = value
			}
		},
	})
	if err != nil {
		return key, encoded, fmt.Errorf("rabbitmq: %w", err)
	}
	for name := range encoded.Headers {
		if len(name) > maxShort {
			bad = fmt.Errorf("rabbitmq: the header %.20q… can't be sent: its name is longer than %d bytes", name, maxShort)
		}
	}
	for what, text := range map[string]string{"id": m.ID, "type": m.Type, "routing key": key} {
		if len(text) > maxShort {
			bad = fmt.Errorf("rabbitmq: the %s %.20q… is longer than %d bytes", what, text, maxShort)
		}
	}
	return key, encoded, bad
}

// reserved are the names of headers that mean something to the broker, or to Decode.
func reserved(name string) bool {
	return name == "CC" || name == "BCC" || strings.HasPrefix(name, prefix)
}

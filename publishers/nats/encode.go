package nats

import (
	"fmt"
	"strings"

	client "github.com/nats-io/nats.go"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// prefix begins the headers that are attributes of the event.
const prefix = "ce-"

// attributeNames returns the headers of the attributes that most messages have.
func attributeNames() map[string]string {
	names := map[string]string{}
	for _, name := range []string{
		"specversion", "id", "source", "type", "time", "subject", "partitionkey", "topic", "aggregatetype", "sequence", "traceparent", "tracestate",
	} {
		names[name] = prefix + name
	}
	return names
}

// usualHeaders is how many headers most messages have at most.
const usualHeaders = 14

// envelope is what is sent of a message. It can be used again for another one.
type envelope struct {
	msg    client.Msg
	values []string
}

// set sets a header.
func (e *envelope) set(name, value string) {
	e.values = append(e.values, value)
	last := len(e.values) - 1
	e.msg.Header[name] = e.values[last : last+1 : last+1]
}

// encode makes what is sent of a message.
func (p *Publisher) encode(e *envelope, m *outbox.Message) error {
	if e.msg.Header == nil {
		e.msg.Header, e.values = make(client.Header, usualHeaders), make([]string, 0, usualHeaders)
	}
	clear(e.msg.Header)
	e.values = e.values[:0]
	e.msg.Subject, e.msg.Data = p.cfg.Subject(*m), m.Payload
	if err := checkSubject(e.msg.Subject); err != nil {
		return err
	}
	var bad error
	err := cloudevents.Write(p.cfg.Source, *m, cloudevents.Writer{
		Attribute: func(name, value string) {
			header, known := p.names[name]
			if !known {
				header = prefix + name
			}
			e.set(header, cloudevents.Encode(value))
		},
		Header: func(name, value string) {
			if reserved(name) || !cloudevents.IsText(name, value) {
				bad = fmt.Errorf("nats: the header %q can't be sent: it is the publisher's own, or no printable ASCII", name)
				return
			}
			e.set(name, value)
		},
	})
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	if bad != nil {
		return bad
	}
	e.set(client.MsgIdHdr, cloudevents.Encode(m.ID))
	return nil
}

// reserved are the names of headers that mean something to the server, or to Decode.
func reserved(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, prefix) || strings.HasPrefix(lower, "nats-")
}

func checkSubject(subject string) error {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || token == "*" || token == ">" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return fmt.Errorf("nats: %q is no subject that can be published to", subject)
		}
	}
	return nil
}

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

// encode makes what is sent of a message.
func (p *Publisher) encode(m outbox.Message) (*client.Msg, error) {
	encoded := client.NewMsg(p.cfg.Subject(m))
	if err := checkSubject(encoded.Subject); err != nil {
		return nil, err
	}
	encoded.Data = m.Payload
	encoded.Header = make(client.Header, 12)
	var bad error
	err := cloudevents.Write(p.cfg.Source, m, cloudevents.Writer{
		Attribute: func(name, value string) {
			encoded.Header[prefix+name] = []string{cloudevents.Encode(value)}
		},
		Header: func(name, value string) {
			if reserved(name) || !cloudevents.IsText(name, value) {
				bad = fmt.Errorf("nats: the header %q can't be sent: it is the publisher's own, or no printable ASCII", name)
				return
			}
			encoded.Header[name] = []string{value}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	if bad != nil {
		return nil, bad
	}
	encoded.Header[client.MsgIdHdr] = []string{cloudevents.Encode(m.ID)}
	return encoded, nil
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

package uowtest

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay"
)

func publisherContentChecks() []PublisherCheck {
	return []PublisherCheck{
		{
			Name: "Publisher_payloads_arrive_unchanged",
			Rule: "a payload is bytes, which arrive as they are: none at all, a mebibyte, zeros, what is no text",
			run:  publishPayloads,
		},
		{
			Name:  "Publisher_refuses_what_is_too_large",
			Rule:  "a message that is larger than the broker takes must be refused, with an error that says so, and all others go on",
			needs: maxPayloadNeeded,
			run:   publishTooLarge,
		},
		{
			Name:  "Publisher_fields_arrive",
			Rule:  "all fields and headers of a message must arrive, but for its position",
			needs: fieldsNeeded,
			run:   publishFields,
		},
		{
			Name:  "Publisher_headers_are_no_way_in",
			Rule:  "a header arrives as it is or the message is refused, whatever is in its name and value",
			needs: fieldsNeeded,
			run:   publishHostileHeaders,
		},
	}
}

// wantSame demands that messages have arrived, unchanged.
func (k *publisherKit) wantSame(sent []outbox.Message) {
	k.Helper()
	got := map[string]outbox.Message{}
	for _, m := range k.stored() {
		got[m.ID] = m
	}
	for _, m := range sent {
		arrived, ok := got[m.ID]
		if !ok {
			k.broken("%s should have arrived; it has not", m.ID)
			continue
		}
		if k.h.Lacks.Fields {
			arrived = outbox.Message{ID: arrived.ID, Key: arrived.Key, Type: arrived.Type, Payload: arrived.Payload}
			m = outbox.Message{ID: m.ID, Key: m.Key, Type: m.Type, Payload: m.Payload}
		}
		if k.h.Lacks.PlainHeaders {
			m, arrived = withoutPlain(m, arrived)
		}
		if diff := different(m, arrived); diff != "" {
			k.broken("%s should have arrived unchanged; %s", m.ID, diff)
		}
	}
}

// withoutPlain leaves out headers, of the message as it was sent, that are no attributes
// of CloudEvents.
func withoutPlain(sent, got outbox.Message) (outbox.Message, outbox.Message) {
	own := []string{"specversion", "id", "source", "type", "time", "subject", "partitionkey", "topic", "aggregatetype", "sequence",
		"datacontenttype", "data"}
	names := sent.Headers
	sent.Headers, got.Headers = maps.Clone(sent.Headers), maps.Clone(got.Headers)
	for name, value := range names {
		other := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }
		if name != "content-type" && (name == "" || strings.ContainsFunc(name, other) || slices.Contains(own, name)) ||
			value == "" || !utf8.ValidString(value) {
			delete(sent.Headers, name)
			delete(got.Headers, name)
		}
	}
	return sent, got
}

func publishPayloads(k *publisherKit) {
	p := k.open()
	largest := 1 << 20
	if k.h.MaxPayload > 0 {
		largest = min(largest, k.h.MaxPayload)
	}
	batch := k.messages(0, 7, "a")
	batch[0].Payload = nil
	batch[1].Payload = []byte{}
	batch[2].Payload = bytes.Repeat([]byte{0}, 100)
	batch[3].Payload = []byte("a\x00b\r\n\r\n\xff\xfe\xc3(")
	batch[4].Payload = make([]byte, largest)
	copy(batch[4].Payload, large(batch[4]).Payload)
	batch[5].Payload = []byte(`{"a":"ünïcode 😀"}`)
	batch[6].Payload = []byte{0}
	k.wantDelivered(batch, k.publish(p, batch))
	k.wantSame(batch)
}

func publishTooLarge(k *publisherKit) {
	p := k.open()
	batch := slices.Concat(k.messages(0, 1, "b"), k.messages(0, 2, "a"), k.free(0, 1))
	batch[1].Payload = make([]byte, 2*k.h.MaxPayload)
	results := k.publish(p, batch)
	stored := []relays.Outcome{relays.Stored, relays.Duplicate}
	k.wantOutcomes(batch, results, stored, []relays.Outcome{relays.Refused}, []relays.Outcome{relays.NotTried}, stored)
	if r := results[1]; r.Err != nil && !strings.Contains(strings.ToLower(r.Err.Error()), "large") {
		k.broken("the error should say that the message is too large; it is %q", r.Err)
	}
	k.wantStored("after a message that was too large", []outbox.Message{batch[0], batch[3]})
}

func publishFields(k *publisherKit) {
	p := k.open()
	batch := k.messages(0, 4, "a/ü b%20c")
	m := &batch[0]
	m.AggregateType, m.AggregateID, m.Sequence = "accounts", `al"ice %41 é`, 7
	m.Headers = map[string]string{
		"content-type": "application/json; charset=utf-8",
		"traceparent":  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"tenant":       "søndag 100%",
		"subject":      "a header of that name",
		"id":           "another",
	}
	batch[1].Type = "Déposé"
	batch[2].CreatedAt = time.Date(2026, 7, 8, 9, 10, 11, 0, time.FixedZone("", 7200))
	if !k.h.Lacks.PlainHeaders {
		batch[3].Headers = map[string]string{"X-Request": "a b", "Correlation_ID": "7"}
	}
	free := k.free(0, 1)
	batch = append(batch, free...)
	k.wantDelivered(batch, k.publish(p, batch))
	k.wantSame(batch)
}

func publishHostileHeaders(k *publisherKit) {
	p := k.open()
	hostile := []map[string]string{
		{"X-A": "b\r\nX-Injected: 1"},
		{"X-A\r\nX-Injected": "1"},
		{"X-A: 1": "2"},
		{"": "no name"},
		{"x a": "space in the name"},
		{"X-A": "  spaces around\t"},
		{"X-A": "zero \x00"},
		{"X-A": "\xff\xfe"},
		{"a": "\xff\xfe"},
		{"a": ""},
		{"ce-id": "fake"},
		{"ce_id": "fake"},
		{"Nats-Msg-Id": "fake"},
		{"content-type": "a\r\nX-Injected: 1"},
	}
	var arrived []outbox.Message
	for i, headers := range hostile {
		m := k.message("", i)
		m.Headers = headers
		results := k.publish(p, []outbox.Message{m})
		switch r := results[0]; {
		case r.Outcome.Delivered():
			arrived = append(arrived, m)
		case r.Outcome != relays.Refused:
			k.broken("a message with the headers %q should be stored or refused; it is %v (%v)", headers, r.Outcome, r.Err)
		}
	}
	k.wantSame(arrived)
	k.wantStored("after hostile headers", arrived)
}

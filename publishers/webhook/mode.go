package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// Mode is one of the ways in which CloudEvents travel by HTTP.
type Mode uint8

const (
	// Structured makes a request of each message: a JSON object with all attributes and
	// the payload.
	Structured Mode = iota
	// Binary makes a request of each message: the payload is the body, as it is, and the
	// attributes are headers that begin with "ce-".
	Binary
	// Batch makes a request of up to Config.BatchSize messages: a JSON array of what
	// Structured makes of each.
	Batch
)

// attributePrefix begins the headers of attributes in Binary mode.
const attributePrefix = "Ce-"

// encode makes the request of one message.
func (r *resolved) encode(m outbox.Message) (Request, error) {
	switch r.Mode {
	case Binary:
		return r.encodeBinary(m)
	case Batch:
		event, err := encodeCloudEvent(r.Source, m)
		return Request{ID: requestID(m.ID), ContentType: batchType, Body: joinEvents([][]byte{event})}, err
	}
	contentType, body, err := r.Encode(m)
	request := Request{ID: requestID(m.ID), ContentType: contentType, Body: body, Headers: map[string]string{}}
	for _, name := range []string{"traceparent", "tracestate"} {
		if value := m.Headers[name]; value != "" && isHeaderValue(value) {
			request.Headers[name] = value
		}
	}
	return request, err
}

// encodeBinary makes a request whose body is the payload. Of the message's headers those
// travel that are attributes, as in the other modes.
func (r *resolved) encodeBinary(m outbox.Message) (Request, error) {
	request := Request{ID: requestID(m.ID), Body: m.Payload, Headers: map[string]string{}}
	err := cloudevents.Write(r.Source, m, cloudevents.Writer{
		Attribute: func(name, value string) { request.Headers[attributePrefix+name] = cloudevents.Encode(value) },
		Header: func(name, value string) {
			switch name {
			case cloudevents.ContentType:
				request.ContentType = value
			case "traceparent", "tracestate":
				if isHeaderValue(value) {
					request.Headers[name] = value
				}
			}
		},
	})
	if err != nil {
		return request, fmt.Errorf("webhook: %w", err)
	}
	return request, nil
}

// requestID returns the id of a message's requests: its own, unless that is no text for a
// header.
func requestID(id string) string {
	if isHeaderValue(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "id_" + hex.EncodeToString(sum[:16])
}

func (r *resolved) resolveMode() error {
	switch {
	case r.Mode > Batch:
		return configError("Mode is not one of the constants")
	case r.Mode != Structured && r.Config.Encode != nil:
		return configError("Encode is set, and Mode is not Structured")
	case r.Mode != Batch && r.BatchSize != 0:
		return configError("BatchSize is set, and Mode is not Batch")
	case r.BatchSize < 0 || r.BatchSize > maxBatchSize:
		return configError("BatchSize is %d: it is at most %d", r.BatchSize, maxBatchSize)
	}
	if r.BatchSize == 0 {
		r.BatchSize = 100
	}
	return nil
}

package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

// cloudEventsType is the media type of the structured mode in JSON.
const cloudEventsType = "application/cloudevents+json; charset=utf-8"

// CloudEvents returns an Encoder for CloudEvents 1.0 in structured JSON, with
// these attributes:
//
//   - id and type are the message's; subject is AggregateID, time is CreatedAt.
//   - datacontenttype is the header "content-type". The payload is embedded as
//     JSON when it is JSON and said to be application/json, else as data_base64.
//   - topic is Topic, and aggregatetype AggregateType.
//   - partitionkey is Key. sequence is Sequence, where there is one, with leading
//     zeros: the extension demands that values can be ordered as text.
//   - Headers whose names can be names of attributes (lower-case letters and
//     digits), such as traceparent and dataschema, become attributes.
func CloudEvents(source string) Encoder {
	return func(m outbox.Message) (string, []byte, error) {
		body, err := encodeCloudEvent(source, m)
		return cloudEventsType, body, err
	}
}

func encodeCloudEvent(source string, m outbox.Message) ([]byte, error) {
	event := map[string]any{}
	contentType := ""
	err := cloudevents.Write(source, m, cloudevents.Writer{
		Attribute: func(name, value string) { event[name] = value },
		Header: func(name, value string) {
			if name == cloudevents.ContentType && value != "" {
				contentType, event["datacontenttype"] = value, value
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	switch {
	case len(m.Payload) == 0:
	case isJSON(contentType) && json.Valid(m.Payload):
		event["data"] = json.RawMessage(m.Payload)
	default:
		event["data_base64"] = m.Payload
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(event); err != nil {
		return nil, fmt.Errorf("webhook: encode message %s: %w", m.ID, err)
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), nil
}

// isJSON leaves out media types that end in "+json": not all receivers, the Go SDK
// among them, can read their data when it is embedded. All can read data_base64.
func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return media == "application/json" || media == "text/json"
}

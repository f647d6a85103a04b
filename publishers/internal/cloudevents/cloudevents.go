// Package cloudevents says how a message travels as a CloudEvent in binary mode: the
// payload is the body, and all else is in headers. Publishers choose the prefix of
// attributes ("ce-", "ce_") that their transport's binding has.
//
// The attributes are those that package webhook describes. Headers whose names can be names of attributes
// are attributes too, unless an attribute of that name exists; all others travel
// under their own names. So do traceparent and tracestate besides, which is where
// tracing of transports looks for them.
package cloudevents

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/uow-go/uow/outbox"
)

// ContentType is the name of the header that has the payload's media type.
const ContentType = "content-type"

// Writer takes what Write says of a message.
type Writer struct {
	// Attribute takes an attribute, without prefix.
	Attribute func(name, value string)
	// Header takes a header; content-type is among them.
	Header func(name, value string)
}

// Write tells a writer the attributes and headers of a message. Source is the
// attribute of this name.
func Write(source string, m outbox.Message, w Writer) error {
	if m.ID == "" || m.Type == "" {
		return errors.New("a CloudEvent needs an id and a type")
	}
	w.Attribute("specversion", "1.0")
	w.Attribute("id", m.ID)
	w.Attribute("source", source)
	w.Attribute("type", m.Type)
	w.Attribute("time", m.CreatedAt.UTC().Format(time.RFC3339Nano))
	for _, optional := range []struct{ name, value string }{
		{"subject", m.AggregateID}, {"partitionkey", m.Key},
		{"topic", m.Topic}, {"aggregatetype", m.AggregateType},
	} {
		if optional.value != "" {
			w.Attribute(optional.name, optional.value)
		}
	}
	if m.Sequence > 0 {
		digits := strconv.FormatInt(m.Sequence, 10)
		w.Attribute("sequence", "00000000000000000000"[len(digits):]+digits)
	}
	for name, value := range m.Headers {
		if isExtension(name) && value != "" {
			w.Attribute(name, value)
			if !isTrace(name) {
				continue
			}
		}
		w.Header(name, value)
	}
	return nil
}

// Read makes a message of attributes, without their prefix, and headers.
func Read(attributes, headers map[string]string, payload []byte) outbox.Message {
	m := outbox.Message{
		ID: attributes["id"], Topic: attributes["topic"], Key: attributes["partitionkey"], Type: attributes["type"],
		AggregateType: attributes["aggregatetype"], AggregateID: attributes["subject"], Payload: payload,
	}
	m.CreatedAt, _ = time.Parse(time.RFC3339Nano, attributes["time"])
	m.Sequence, _ = strconv.ParseInt(attributes["sequence"], 10, 64)
	set := func(name, value string) {
		if m.Headers == nil {
			m.Headers = map[string]string{}
		}
		m.Headers[name] = value
	}
	for name, value := range headers {
		set(name, value)
	}
	for name, value := range attributes {
		if isExtension(name) {
			set(name, value)
		}
	}
	return m
}

// Parse is Read for what may be none of a publisher's: it returns the source too, and an
// error unless all that a publisher writes is there, as it writes it.
func Parse(attributes, headers map[string]string, payload []byte) (source string, m outbox.Message, err error) {
	for _, required := range []string{"specversion", "id", "source", "type", "time"} {
		if attributes[required] == "" {
			return "", m, fmt.Errorf("it has no attribute %s of a CloudEvent", required)
		}
	}
	if v := attributes["specversion"]; v != "1.0" {
		return "", m, fmt.Errorf("it is a CloudEvent of version %.20q", v)
	}
	if _, err := time.Parse(time.RFC3339Nano, attributes["time"]); err != nil {
		return "", m, fmt.Errorf("its time %.40q is none of RFC 3339", attributes["time"])
	}
	if sequence, ok := attributes["sequence"]; ok {
		if n, err := strconv.ParseInt(sequence, 10, 64); err != nil || n <= 0 {
			return "", m, fmt.Errorf("its sequence %.40q is no number from 1 on", sequence)
		}
	}
	return attributes["source"], Read(attributes, headers, payload), nil
}

// ValidSource reports whether a text can be the attribute source.
func ValidSource(source string) bool {
	_, err := url.Parse(source)
	return err == nil && source != ""
}

// isExtension reports whether a header can be an attribute that is none of a
// message's own.
func isExtension(name string) bool {
	switch name {
	case "", "specversion", "id", "source", "type", "time", "subject", "partitionkey", "topic", "aggregatetype", "sequence",
		"datacontenttype", "data":
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

func isTrace(name string) bool { return name == "traceparent" || name == "tracestate" }

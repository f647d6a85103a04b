package cloudevents_test

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
)

func write(t *testing.T, m outbox.Message) (attributes, headers map[string]string) {
	t.Helper()
	attributes, headers = map[string]string{}, map[string]string{}
	err := cloudevents.Write("/bank", m, cloudevents.Writer{
		Attribute: func(name, value string) { attributes[name] = value },
		Header:    func(name, value string) { headers[name] = value },
	})
	if err != nil {
		t.Fatal(err)
	}
	return attributes, headers
}

func TestAMessageComesBack(t *testing.T) {
	m := outbox.Message{
		ID: "1", Topic: "accounts", Key: "accounts/alice", Type: "Withdrawn", AggregateType: "accounts", AggregateID: "alice",
		Sequence: 3, Payload: []byte("{}"), CreatedAt: time.Date(2026, 11, 23, 10, 0, 0, 123456000, time.UTC),
		Headers: map[string]string{
			"content-type": "application/json", "traceparent": "00-a", "tenant": "7", "X-Other": "x", "id": "fake", "empty": "",
		},
	}
	attributes, headers := write(t, m)
	want := map[string]string{
		"specversion": "1.0", "id": "1", "source": "/bank", "type": "Withdrawn", "time": "2026-11-23T10:00:00.123456Z",
		"subject": "alice", "partitionkey": "accounts/alice", "sequence": "00000000000000000003",
		"topic": "accounts", "aggregatetype": "accounts", "traceparent": "00-a", "tenant": "7",
	}
	if !maps.Equal(attributes, want) {
		t.Errorf("the attributes are %v, want %v", attributes, want)
	}
	plain := map[string]string{"content-type": "application/json", "traceparent": "00-a", "X-Other": "x", "id": "fake", "empty": ""}
	if !maps.Equal(headers, plain) {
		t.Errorf("the headers are %v, want %v", headers, plain)
	}
	if got := cloudevents.Read(attributes, headers, m.Payload); !reflect.DeepEqual(got, m) {
		t.Errorf("it came back as %+v, want %+v", got, m)
	}
}

func TestAnEventNeedsAnIDAndAType(t *testing.T) {
	for _, m := range []outbox.Message{{ID: "1"}, {Type: "T"}} {
		if err := cloudevents.Write("/bank", m, cloudevents.Writer{}); err == nil {
			t.Errorf("%+v was written", m)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "plain", "100%", "a b\r\nc", "\xff\x00", "%4", "%zz", "é", `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		encoded := cloudevents.Encode(s)
		if encoded != "" && !cloudevents.IsText("n", encoded) || strings.Contains(encoded, " ") {
			t.Errorf("%q is encoded as %q, which is no text", s, encoded)
		}
		if back := cloudevents.Decode(encoded); back != s {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}

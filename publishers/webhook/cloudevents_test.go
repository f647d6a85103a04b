package webhook_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/webhook"
)

const golden = `{"aggregatetype":"accounts","data":{"amount":30,"note":"a < b & c"},` +
	`"datacontenttype":"application/json",` +
	`"id":"0190b5c0-0000-7000-8000-000000000001",` +
	`"partitionkey":"accounts/alice",` +
	`"sequence":"00000000000000000003",` +
	`"source":"/bank",` +
	`"specversion":"1.0",` +
	`"subject":"alice",` +
	`"time":"2026-11-23T10:00:00.123456Z",` +
	`"topic":"accounts",` +
	`"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",` +
	`"type":"Withdrawn"}`

func TestCloudEventIsTheGoldenOne(t *testing.T) {
	contentType, body, err := webhook.CloudEvents("/bank")(message())
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != golden {
		t.Errorf("the event is\n%s\nwant\n%s", body, golden)
	}
	if contentType != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("the media type is %q", contentType)
	}
}

// parse reads an event by the SDK of CloudEvents, which also validates it.
func parse(t *testing.T, m outbox.Message) event.Event {
	t.Helper()
	_, body, err := webhook.CloudEvents("https://example.com/bank")(m)
	if err != nil {
		t.Fatal(err)
	}
	var e event.Event
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatalf("the SDK can't read %s: %v", body, err)
	}
	if err := e.Validate(); err != nil {
		t.Fatalf("the SDK finds %s not valid: %v", body, err)
	}
	return e
}

func TestCloudEventIsReadByTheSDK(t *testing.T) {
	m := message()
	e := parse(t, m)
	got := []any{e.SpecVersion(), e.ID(), e.Source(), e.Type(), e.Subject(), e.DataContentType(), string(e.Data())}
	want := []any{"1.0", m.ID, "https://example.com/bank", m.Type, "alice", "application/json", string(m.Payload)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the event is %v, want %v", got, want)
	}
	if !e.Time().Equal(m.CreatedAt) {
		t.Errorf("the time is %v, want %v", e.Time(), m.CreatedAt)
	}
	wantExtensions := map[string]any{
		"aggregatetype": "accounts",
		"partitionkey":  "accounts/alice",
		"sequence":      "00000000000000000003",
		"topic":         "accounts",
		"traceparent":   m.Headers["traceparent"],
	}
	if !reflect.DeepEqual(e.Extensions(), wantExtensions) {
		t.Errorf("the extensions are %v, want %v", e.Extensions(), wantExtensions)
	}
}

func TestCloudEventData(t *testing.T) {
	for name, c := range map[string]struct {
		contentType string
		payload     string
		base64      bool
	}{
		"JSON":                {"application/json; charset=utf-8", `[1,2.50,"x"]`, false},
		"a kind of JSON":      {"application/vnd.bank+json", `{"a":null}`, true},
		"not JSON as it says": {"application/json", `{"a":`, true},
		"text":                {"text/plain", `{"a":1}`, true},
		"bytes":               {"application/protobuf", "\x00\xff", true},
		"no media type":       {"", `{"a":1}`, true},
		"no payload":          {"application/json", "", false},
	} {
		m := message()
		m.Payload, m.Headers = []byte(c.payload), map[string]string{"content-type": c.contentType}
		e := parse(t, m)
		if string(e.Data()) != c.payload || e.DataBase64 != c.base64 {
			t.Errorf("%s: data is %q, base64 %v", name, e.Data(), e.DataBase64)
		}
	}
}

func TestCloudEventOfAMessageByHand(t *testing.T) {
	e := parse(t, outbox.Message{ID: "1", Type: "T", Headers: map[string]string{
		"id": "fake", "specversion": "0.3", "subject": "fake", "data": "fake", "time": "fake",
		"tenant": "7", "X-Other": "x", "empty": "",
	}})
	if e.ID() != "1" || e.Subject() != "" || e.Data() != nil {
		t.Errorf("headers changed the event's own attributes: %v", e)
	}
	if want := map[string]any{"tenant": "7"}; !reflect.DeepEqual(e.Extensions(), want) {
		t.Errorf("the extensions are %v, want %v", e.Extensions(), want)
	}
	if _, _, err := webhook.CloudEvents("/bank")(outbox.Message{ID: "1"}); err == nil {
		t.Error("an event without a type was encoded")
	}
}

package nats

import (
	"bytes"
	"errors"
	"maps"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

// What is encoded is decoded to the same, whatever is in it.
func FuzzDecode(f *testing.F) {
	f.Add("id", "topic", "key", "type", "a", "b", int64(1), int64(1), "x-h", "v", []byte("payload"))
	f.Add("%41", "a.b", "k\x00\r\n", "t\xff", "\"", " ", int64(0), int64(-1), "ce", "", []byte{0, 0xff})
	f.Add("i", "t", "", "t", "", "", int64(1<<62), int64(0), "specversion", "2", []byte(nil))
	f.Fuzz(func(t *testing.T, id, topic, key, kind, aggregate, aggregateID string, sequence, at int64, header, value string, payload []byte) {
		p := &Publisher{names: attributeNames(), cfg: Config{Source: "/bank", Subject: func(outbox.Message) string { return "s" }}}
		m := outbox.Message{
			ID: id, Topic: topic, Key: key, Type: kind, AggregateType: aggregate, AggregateID: aggregateID, Sequence: max(sequence, 0),
			CreatedAt: time.UnixMicro(at % (1 << 57)).UTC(), Payload: payload, Headers: map[string]string{header: value},
		}
		if y := m.CreatedAt.Year(); y < 1 || y > 9999 {
			return // no such time can be written
		}
		var e envelope
		if err := p.encode(&e, &m); err != nil {
			return // it is refused
		}
		got, err := decode(e.msg.Header, e.msg.Data)
		if err != nil {
			t.Fatalf("%+v was encoded, and can't be decoded: %v", m, err)
		}
		same := got.ID == m.ID && got.Topic == m.Topic && got.Key == m.Key && got.Type == m.Type && got.AggregateType == m.AggregateType &&
			got.AggregateID == m.AggregateID && got.Sequence == m.Sequence && got.CreatedAt.Equal(m.CreatedAt) && bytes.Equal(got.Payload, m.Payload)
		if !same || got.Source != "/bank" || !maps.Equal(got.Headers, m.Headers) {
			t.Errorf("%+v became %+v", m, got)
		}
	})
}

func TestMalformedIsNoMessage(t *testing.T) {
	good := map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "T", "ce-time": "2026-01-02T03:04:05Z"}
	for name, change := range map[string]map[string]string{
		"no id": {"ce-id": ""}, "no source": {"ce-source": ""}, "no type": {"ce-type": ""}, "no time": {"ce-time": ""},
		"another version": {"ce-specversion": "0.3"}, "no version": {"ce-specversion": ""}, "a wrong time": {"ce-time": "yesterday"},
		"a wrong sequence": {"ce-sequence": "one"}, "no sequence": {"ce-sequence": ""}, "a negative sequence": {"ce-sequence": "-1"},
		"a huge sequence": {"ce-sequence": "99999999999999999999"}, "good": nil,
	} {
		header := client.Header{}
		for _, values := range []map[string]string{good, change} {
			for field, value := range values {
				header[field] = []string{value}
			}
		}
		m, err := decode(header, []byte("payload"))
		if name == "good" {
			if err != nil || m.ID != "1" || m.Source != "/s" {
				t.Errorf("%+v, %v", m, err)
			}
		} else if !errors.Is(err, consumer.ErrMalformed) || string(m.Payload) != "payload" || m.ID != "" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if _, err := decode(nil, nil); !errors.Is(err, consumer.ErrMalformed) {
		t.Errorf("nothing at all: %v", err)
	}
}

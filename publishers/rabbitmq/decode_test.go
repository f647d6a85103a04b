package rabbitmq

import (
	"bytes"
	"errors"
	"maps"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/outbox"
)

// What is encoded is decoded to the same, whatever is in it.
func FuzzDecode(f *testing.F) {
	f.Add("id", "topic", "key", "type", "a", "b", int64(1), int64(1), "x-h", "v", []byte("payload"))
	f.Add("%41", "a.b", "k\x00\r\n", "t\xff", "\"", " ", int64(0), int64(-1), "ce", "", []byte{0, 0xff})
	f.Add("i", "t", "", "t", "", "", int64(1<<62), int64(0), "specversion", "2", []byte(nil))
	f.Fuzz(func(t *testing.T, id, topic, key, kind, aggregate, aggregateID string, sequence, at int64, header, value string, payload []byte) {
		p := &Publisher{cfg: Config{Source: "/bank", RoutingKey: func(outbox.Message) string { return "k" }, MaxPayload: 1 << 20}}
		m := outbox.Message{
			ID: id, Topic: topic, Key: key, Type: kind, AggregateType: aggregate, AggregateID: aggregateID, Sequence: max(sequence, 0),
			CreatedAt: time.UnixMicro(at % (1 << 57)).UTC(), Payload: payload, Headers: map[string]string{header: value},
		}
		if y := m.CreatedAt.Year(); y < 1 || y > 9999 || header == "content-type" && value == "" {
			return // no such time can be written
		}
		_, encoded, err := p.encode(m)
		if err != nil {
			return // it is refused
		}
		got, err := decode(amqp.Delivery{Headers: encoded.Headers, ContentType: encoded.ContentType, Body: encoded.Body})
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
	for _, d := range []amqp.Delivery{
		{}, {MessageId: "1", Type: "T"},
		{Headers: amqp.Table{prefix + "id": int64(1), prefix + "specversion": "1.0", prefix + "source": "/s", prefix + "type": "T"}},
	} {
		d.Body = []byte("payload")
		m, err := decode(d)
		if !errors.Is(err, consumer.ErrMalformed) || string(m.Payload) != "payload" || m.ID != "" {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

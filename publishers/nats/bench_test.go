package nats_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/nats"
)

// BenchmarkPublish publishes batches of 1,000 messages of 300 bytes, of 100 keys, to an
// embedded server, which syncs before it acknowledges.
func BenchmarkPublish(b *testing.B) {
	s := embeddedServer(b)
	js := connect(b, "", s.InProcess())
	for name, atomic := range map[string]bool{"atomic": true, "onebyone": false} {
		b.Run(name, func(b *testing.B) {
			stream := newStream(b, js, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = atomic })
			p, err := nats.New(b.Context(), config(stream, s.Address()))
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			n := 0
			for b.Loop() {
				var batch []outbox.Message
				for range 1000 {
					batch = append(batch, outbox.Message{ID: fmt.Sprint(n), Key: fmt.Sprint(n % 100), Type: "T", Topic: "t", Payload: make([]byte, 300)})
					n++
				}
				for _, r := range p.Publish(b.Context(), batch) {
					if !r.Outcome.Delivered() {
						b.Fatal(r.Outcome, r.Err)
					}
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

package nats_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	publisher "github.com/uow-go/uow/publishers/nats"
	"github.com/uow-go/uow/publishers/nats/embedded"
	"github.com/uow-go/uow/relay"
)

// A program that publishes its events to a server of its own, and reads them there.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	dir, err := os.MkdirTemp("", "events")
	check(err)
	defer os.RemoveAll(dir)
	server, err := embedded.Start(embedded.Config{Dir: dir})
	check(err)
	defer server.Close()
	p, err := publisher.New(ctx, publisher.Config{
		Options: []nats.Option{server.InProcess()},
		Stream:  "EVENTS",
		Create:  &jetstream.StreamConfig{Subjects: []string{"orders"}, AllowAtomicPublish: true},
		Source:  "/shop",
	})
	check(err)
	defer p.Close()

	db, err := memory.Open(ctx, uow.Config{})
	check(err)
	defer db.Close()
	err = db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		return outbox.Append(u, outbox.Message{Topic: "orders", Key: "order/7", Type: "Placed", Payload: []byte(`{"total":30}`)})
	})
	check(err)
	messages, err := outbox.Of(db)
	check(err)
	r, err := relay.New(relay.Config{Log: messages, Publisher: p})
	check(err)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()

	c, err := nats.Connect("", server.InProcess())
	check(err)
	defer c.Close()
	js, err := jetstream.New(c)
	check(err)
	consumer, err := js.OrderedConsumer(ctx, "EVENTS", jetstream.OrderedConsumerConfig{})
	check(err)
	event, err := consumer.Next()
	check(err)
	m := publisher.Decode(event.Headers(), event.Data())
	fmt.Println(event.Subject(), m.Key, m.Type, string(m.Payload))
	cancel()
	check(<-done)
	// Output: orders order/7 Placed {"total":30}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

package nats_test

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	publisher "github.com/uow-go/uow/publishers/nats"
	"github.com/uow-go/uow/publishers/nats/embedded"
)

// Letter is what the example's handler makes.
type Letter struct{ ID, Text string }

// A program that handles the messages of a stream, each once, in units of its database.
func ExampleConsumer() {
	ctx, cancel := context.WithCancel(context.Background())
	dir, err := os.MkdirTemp("", "events")
	check(err)
	defer os.RemoveAll(dir)
	server, err := embedded.Start(embedded.Config{Dir: dir})
	check(err)
	defer server.Close()
	options := []nats.Option{server.InProcess()}
	p, err := publisher.New(ctx, publisher.Config{
		Options: options, Stream: "EVENTS", Source: "/shop",
		Create: &jetstream.StreamConfig{Subjects: []string{"orders", "dead.mailer"}},
	})
	check(err)
	defer p.Close()
	p.Publish(ctx, []outbox.Message{ // as a relay does
		{ID: "1", Topic: "orders", Key: "order/7", Type: "Placed", Payload: []byte("30")},
		{ID: "2", Topic: "orders", Key: "order/7", Type: "Paid", Payload: []byte("30")},
	})

	records, letters := inbox.NewRecords(), uow.NewCollection[Letter]("letters")
	db, err := memory.Open(ctx, uow.Config{Collections: append(records.Collections(), letters)})
	check(err)
	defer db.Close()
	mailer, err := inbox.New(db, records, inbox.Config{Consumer: "mailer"})
	check(err)
	written := make(chan string)
	c, err := publisher.NewConsumer(ctx, publisher.ConsumerConfig{
		Options: options, Stream: "EVENTS", Durable: "mailer",
		Subjects: []string{"orders"}, DeadSubject: "dead.mailer",
		Config: consumer.Config{
			Handle: mailer.Handler(func(_ context.Context, u *uow.Unit, m outbox.Message) error {
				u.AfterCommit(func(context.Context) error { written <- m.Type; return nil })
				return letters.In(u).Add(&Letter{ID: m.ID, Text: m.Type + " " + string(m.Payload)})
			}),
		},
	})
	check(err)
	defer c.Close()
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	fmt.Println(<-written)
	fmt.Println(<-written)
	cancel()
	check(<-done)
	// Output:
	// Placed
	// Paid
}

package rabbitmq_test

import (
	"context"
	"log"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/rabbitmq"
	"github.com/uow-go/uow/relay"
)

// Events go to a quorum queue that is made on the first start.
func Example() {
	publish := func(ctx context.Context, messages outbox.Log) error {
		p, err := rabbitmq.New(ctx, rabbitmq.Config{
			URL:      "amqp://guest:guest@localhost:5672/",
			Exchange: "amq.topic",
			Source:   "/shop",
			Queue:    &rabbitmq.Queue{Name: "billing", RoutingKeys: []string{"orders"}},
		})
		if err != nil {
			return err
		}
		defer p.Close()
		r, err := relay.New(relay.Config{Log: messages, Publisher: p})
		if err != nil {
			return err
		}
		return r.Run(ctx)
	}
	log.Printf("%T", publish)
}

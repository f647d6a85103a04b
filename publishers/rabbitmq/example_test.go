package rabbitmq_test

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/rabbitmq"
	"github.com/uow-go/uow/relay"
)

// Events go to a quorum queue that is made on the first start.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	db, err := memory.Open(ctx, uow.Config{})
	check(err)
	defer db.Close()
	messages, err := outbox.Of(db)
	check(err)
	p, err := rabbitmq.New(ctx, rabbitmq.Config{
		URL:      "amqp://guest:guest@localhost:5672/",
		Exchange: "amq.topic",
		Source:   "/shop",
		Queue:    &rabbitmq.Queue{Name: "billing", RoutingKeys: []string{"orders"}},
	})
	check(err)
	defer p.Close()
	r, err := relay.New(relay.Config{Log: messages, Publisher: p})
	check(err)
	check(r.Run(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

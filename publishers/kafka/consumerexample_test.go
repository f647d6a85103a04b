package kafka_test

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/kafka"
)

// Invoice is what the example's handler makes.
type Invoice struct{ ID, Order string }

// Each record of the topic is handled once; what is refused goes to another topic.
func ExampleConsumer() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	records, invoices := inbox.NewRecords(), uow.NewCollection[Invoice]("invoices")
	db, err := memory.Open(ctx, uow.Config{Collections: append(records.Collections(), invoices)})
	check(err)
	defer db.Close()
	billing, err := inbox.New(db, records, inbox.Config{Consumer: "billing"})
	check(err)
	c, err := kafka.NewConsumer(ctx, kafka.ConsumerConfig{
		Brokers: []string{"localhost:9092"}, Topics: []string{"orders"}, Group: "billing", DeadTopic: "orders.dead",
		Config: consumer.Config{
			Handle: billing.Handler(func(_ context.Context, u *uow.Unit, m outbox.Message) error {
				return invoices.In(u).Add(&Invoice{ID: m.ID, Order: m.Key})
			}),
		},
	})
	check(err)
	defer c.Close()
	check(c.Run(ctx))
}

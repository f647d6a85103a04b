package rabbitmq_test

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/rabbitmq"
)

// Invoice is what the example's handler makes.
type Invoice struct{ ID, Order string }

// Each message of the queue is handled once; what is refused goes to another queue.
func ExampleConsumer() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	records, invoices := inbox.NewRecords(), uow.NewCollection[Invoice]("invoices")
	db, err := memory.Open(ctx, uow.Config{Collections: append(records.Collections(), invoices)})
	check(err)
	defer db.Close()
	billing, err := inbox.New(db, records, inbox.Config{Consumer: "billing"})
	check(err)
	c, err := rabbitmq.NewConsumer(ctx, rabbitmq.ConsumerConfig{
		URL: "amqp://guest:guest@localhost:5672/", Queue: "billing", DeadKey: "billing.dead",
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

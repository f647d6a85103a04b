package redis_test

import (
	"context"
	"os/signal"
	"syscall"

	client "github.com/redis/go-redis/v9"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/redis"
)

// Invoice is what the example's handler makes.
type Invoice struct{ ID, Order string }

// Each entry of the stream is handled once; what is refused goes to another stream.
func ExampleConsumer() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	records, invoices := inbox.NewRecords(), uow.NewCollection[Invoice]("invoices")
	db, err := memory.Open(ctx, uow.Config{Collections: append(records.Collections(), invoices)})
	check(err)
	defer db.Close()
	billing, err := inbox.New(db, records, inbox.Config{Consumer: "billing"})
	check(err)
	c, err := redis.NewConsumer(ctx, redis.ConsumerConfig{
		Options: client.Options{Addr: "localhost:6379"}, Stream: "orders", Group: "billing", DeadStream: "orders.dead",
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

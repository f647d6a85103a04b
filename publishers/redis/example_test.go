package redis_test

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	client "github.com/redis/go-redis/v9"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/redis"
	"github.com/uow-go/uow/relay"
)

// Events go to the stream that is named like their topic, on a server that syncs before
// it answers.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	db, err := memory.Open(ctx, uow.Config{})
	check(err)
	defer db.Close()
	messages, err := outbox.Of(db)
	check(err)
	p, err := redis.New(ctx, redis.Config{
		Options:    client.Options{Addr: "localhost:6379"},
		Source:     "/shop",
		Durability: redis.Synced,
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

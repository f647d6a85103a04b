package redis_test

import (
	"context"
	"log"

	client "github.com/redis/go-redis/v9"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/redis"
	"github.com/uow-go/uow/relay"
)

// Events go to the stream that is named like their topic, on a server that syncs before
// it answers.
func Example() {
	publish := func(ctx context.Context, messages outbox.Log) error {
		p, err := redis.New(ctx, redis.Config{
			Options:    client.Options{Addr: "localhost:6379"},
			Source:     "/shop",
			Durability: redis.Synced,
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

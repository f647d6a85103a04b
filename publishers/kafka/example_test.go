package kafka_test

import (
	"context"
	"fmt"
	"log"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/kafka"
)

// The brokers of this example run in process.
func Example() {
	ctx := context.Background()
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	check(err)
	defer brokers.Close()
	p, err := kafka.New(ctx, kafka.Config{Brokers: brokers.ListenAddrs(), Source: "/shop"})
	check(err)
	defer p.Close()

	// A relay does this: relay.Config{Publisher: p}.
	results := p.Publish(ctx, []outbox.Message{{ID: "1", Topic: "orders", Key: "order/7", Type: "Placed", Payload: []byte(`{"total":30}`)}})
	fmt.Println(results[0].Outcome)

	consumer, err := kgo.NewClient(kgo.SeedBrokers(brokers.ListenAddrs()...), kgo.ConsumeTopics("orders"))
	check(err)
	defer consumer.Close()
	record := consumer.PollFetches(ctx).Records()[0]
	m := kafka.Decode(record)
	fmt.Println(string(record.Key), m.Type, string(m.Payload))
	// Output:
	// stored
	// order/7 Placed {"total":30}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

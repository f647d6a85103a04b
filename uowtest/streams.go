package uowtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	relays "github.com/uow-go/uow/relay" // the kit has a type of that name
)

func streamChecks() []Check {
	return []Check{
		{
			Name:  "P19_relays_find_streams_in_order",
			Rule:  "a relay that reads while units commit, roll back, remove and add again must find the events of each aggregate in order, and none missing",
			needs: outboxNeeded,
			run:   relaysFindStreamsInOrder,
		},
	}
}

func relaysFindStreamsInOrder(k *kit) {
	ctx, cancel := context.WithTimeout(k.Context(), time.Minute)
	defer cancel()
	const partitions = 2
	var found disorders
	var ends atomic.Int64 // of partitions whose end was published
	relay, err := relays.New(relays.Config{
		Log: k.log(),
		Publisher: relays.PublisherFunc(func(_ context.Context, batch []outbox.Message) []relays.Result {
			for _, m := range batch {
				if m.Type == "end" && ends.Add(1) == partitions {
					cancel()
				}
			}
			return storeAll(batch)
		}),
		Cursor: "streams", Partitions: partitions, TakeOver: true, BatchSize: 5,
		PollInterval: 50 * time.Millisecond, // a rollback that the log waits for wakes nobody
		Retention:    -1,
		Logger:       slog.New(slog.DiscardHandler),
		Observer:     &found,
	})
	k.must("relay.New", err)
	ran := make(chan error, 1)
	go func() { ran <- relay.Run(ctx) }()
	k.together(4, func(writer int) error { return k.writeStreams(writer, 12) })
	k.append(endOf(0, partitions), endOf(1, partitions))
	k.must("the relay", <-ran)
	if got := ends.Load(); got != partitions {
		k.broken("the relay should come to the end of the log in %d partitions; it came there in %d", partitions, got)
	}
	if len(found.all) > 0 {
		k.broken("got %d messages that are not the next of their stream, the first being %s", len(found.all), found.all[0])
	}
}

// endOf returns a message of a partition.
func endOf(partition, partitions int) outbox.Message {
	for i := 0; ; i++ {
		if key := fmt.Sprint("end ", i); outbox.Partition(key, "", partitions) == partition {
			return outbox.Message{Type: "end", Key: key}
		}
	}
}

// writeStreams commits units that change a few accounts, and as many that are rolled back.
func (k *kit) writeStreams(writer, units int) error {
	for i := range units {
		id := fmt.Sprint("stream", (writer+i)%3)
		for _, want := range []error{errBoom, nil} {
			err := k.retry(func(ctx context.Context, u *uow.Unit) error {
				return errors.Join(k.writeStream(ctx, u, id, i%4 == 3), want)
			})
			if want == nil && err != nil || want != nil && !errors.Is(err, want) {
				return fmt.Errorf("a unit that is to end with %q ended with: %w", fmt.Sprint(want), err)
			}
		}
	}
	return nil
}

// writeStream records three events of an account, on both sides of a flush, and adds the
// account where there is none. It may remove it in the end.
func (k *kit) writeStream(ctx context.Context, u *uow.Unit, id string, remove bool) error {
	a, err := k.accounts.In(u).Get(ctx, id)
	if errors.Is(err, uow.ErrNotFound) {
		a = &account{ID: id}
		err = k.accounts.In(u).Add(a)
	}
	if err != nil {
		return err
	}
	a.add(1)
	if err := u.Flush(ctx); err != nil {
		return err
	}
	a.add(1)
	a.add(1)
	if remove {
		return k.accounts.In(u).Remove(a)
	}
	return nil
}

// disorders remembers what a relay tells of streams.
type disorders struct{ all []string }

func (*disorders) Delivered(outbox.Message, time.Duration)   {}
func (*disorders) Failed(outbox.Message, int, relays.Result) {}
func (*disorders) Parked(outbox.Message, string)             {}

func (d *disorders) Disordered(found relays.Disorder) {
	m := found.Message
	d.all = append(d.all, fmt.Sprintf("number %d of %s, which was at %d", m.Sequence, m.Key, found.Last))
}

package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/consumer"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/sqlite"
)

// account is an aggregate whose events are published.
type account struct {
	uow.Events
	ID      string
	Balance int
}

type deposited struct{ Amount int }

// What the producer commits. Every fifth unit is rolled back.
const (
	accounts = 7
	units    = 400
)

func openBank(ctx context.Context, path string) (*uow.DB, *uow.Collection[account], error) {
	all := uow.NewCollection[account]("accounts")
	db, err := sqlite.Open(ctx, path, uow.Config{Collections: []uow.AnyCollection{all}})
	return db, all, err
}

// produce commits events and relays them until it is told to end.
func produce(ctx context.Context, b broker, path string) error {
	db, all, err := openBank(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := b.publish(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	log, err := outbox.Of(db)
	if err != nil {
		return err
	}
	r, err := relay.New(relay.Config{Log: log, Publisher: p, BatchSize: 20})
	if err != nil {
		return err
	}
	relayed := make(chan error, 1)
	go func() { relayed <- r.Run(ctx) }()
	undo := errors.New("this one is rolled back")
	for n := range units {
		err := db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			found, err := all.In(u).GetMany(ctx, fmt.Sprint(n%accounts))
			if err != nil {
				return err
			}
			var one *account
			if len(found) == 1 {
				one = found[0]
			} else {
				one = &account{ID: fmt.Sprint(n % accounts)}
				if err := all.In(u).Add(one); err != nil {
					return err
				}
			}
			one.Balance++
			one.Record(deposited{Amount: 1})
			if n%5 == 4 {
				return undo
			}
			return nil
		})
		if err != nil && !errors.Is(err, undo) {
			return err
		}
	}
	fmt.Println("produced")
	return <-relayed
}

// journal is the effects of the events of an account, in their order.
type journal struct {
	ID     string
	Events []string
}

func openShop(ctx context.Context, path string) (*uow.DB, *inbox.Records, *uow.Collection[journal], error) {
	records, journals := inbox.NewRecords(), uow.NewCollection[journal]("journals")
	db, err := sqlite.Open(ctx, path, uow.Config{Collections: append(records.Collections(), journals)})
	return db, records, journals, err
}

var errUnlucky = errors.New("this attempt fails by chance")

// consume handles events until it is told to end, or killed. It says what it does.
func consume(ctx context.Context, b broker, path string) error {
	db, records, journals, err := openShop(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	in, err := inbox.New(db, records, inbox.Config{Consumer: "shop", Order: inbox.RefuseDisorder, FromFirst: true})
	if err != nil {
		return err
	}
	handle := in.Handler(func(ctx context.Context, u *uow.Unit, m outbox.Message) error {
		if rand.IntN(10) == 0 {
			return errUnlucky
		}
		fmt.Println("handling", m.ID)
		<-time.After(time.Duration(rand.IntN(3)) * time.Millisecond) // in which it may be killed
		found, err := journals.In(u).GetMany(ctx, m.AggregateID)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return journals.In(u).Add(&journal{ID: m.AggregateID, Events: []string{m.ID}})
		}
		found[0].Events = append(found[0].Events, m.ID)
		return nil
	})
	c, err := b.consume(ctx, consumer.Config{
		Backoff: relay.Backoff{Min: time.Millisecond, Max: 50 * time.Millisecond}, Concurrency: 4,
		Handle: func(ctx context.Context, m consumer.Message) error {
			err := handle(ctx, m)
			switch {
			case err == nil:
				fmt.Println("done", m.ID)
			case errors.Is(err, inbox.ErrGap):
				fmt.Println("gap", m.ID)
			case errors.Is(err, consumer.ErrRefused):
				fmt.Println("failed", err)
			}
			return err
		},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Run(ctx)
}

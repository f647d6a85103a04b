package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
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
	ID   string
	Unit int // the last that has changed it
}

type deposited struct{ Unit int }

// What the producer commits. Every fifth unit is rolled back.
const (
	accounts = 7
	units    = 400
	events   = units - units/5
)

func rolledBack(unit int) bool { return unit%5 == 4 }

func openBank(ctx context.Context, path string) (*uow.DB, *uow.Collection[account], error) {
	all := uow.NewCollection[account]("accounts")
	db, err := sqlite.Open(ctx, path, uow.Config{Collections: []uow.AnyCollection{all}})
	return db, all, err
}

// produce goes on with the units where the process before it was killed, one for each byte
// that it reads, and relays their events until it is told to end. It says what it does.
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
	r, err := relay.New(relay.Config{Log: log, Publisher: p, BatchSize: 20, Lease: 500 * time.Millisecond, Observer: sayRelayed{}})
	if err != nil {
		return err
	}
	relayed := make(chan error, 1)
	go func() { relayed <- r.Run(ctx) }()
	if err := produceUnits(ctx, db, all); err != nil {
		return err
	}
	return <-relayed
}

func produceUnits(ctx context.Context, db *uow.DB, all *uow.Collection[account]) error {
	next, err := nextUnit(ctx, db, all)
	if err != nil {
		return err
	}
	fmt.Println("resumes", next)
	undo := errors.New("this one is rolled back")
	for n := next; n < units; n++ {
		if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
			return err
		}
		err := db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			fmt.Println("begun", n)
			if err := deposit(ctx, all.In(u), n); err != nil {
				return err
			}
			<-time.After(time.Duration(rand.IntN(3)) * time.Millisecond) // in which it may be killed
			if rolledBack(n) {
				return undo
			}
			return nil
		})
		switch {
		case err == nil:
			fmt.Println("committed", n)
		case errors.Is(err, undo):
			fmt.Println("undone", n)
		default:
			return err
		}
	}
	fmt.Println("produced")
	return nil
}

// nextUnit is the one after the last that was committed.
func nextUnit(ctx context.Context, db *uow.DB, all *uow.Collection[account]) (next int, err error) {
	err = db.View(ctx, func(ctx context.Context, v *uow.View) error {
		for a, err := range all.From(v).All(ctx, uow.Query{}) {
			if err != nil {
				return err
			}
			next = max(next, a.Unit+1)
		}
		return nil
	})
	return next, err
}

// deposit changes the account of a unit.
func deposit(ctx context.Context, in *uow.Repository[account], unit int) error {
	id := fmt.Sprint(unit % accounts)
	found, err := in.GetMany(ctx, id)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		found = []*account{{ID: id}}
		if err := in.Add(found[0]); err != nil {
			return err
		}
	}
	found[0].Unit = unit
	found[0].Record(deposited{Unit: unit})
	return nil
}

// sayRelayed says what the broker has confirmed.
type sayRelayed struct{}

func (sayRelayed) Delivered(m outbox.Message, _ time.Duration) { fmt.Println("relayed", m.ID) }
func (sayRelayed) Failed(outbox.Message, int, relay.Result)    {}
func (sayRelayed) Parked(m outbox.Message, reason string)      { fmt.Println("parked", m.ID, reason) }
func (sayRelayed) Disordered(d relay.Disorder) {
	fmt.Println("parked", d.Message.ID, "it is not the next of its stream")
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

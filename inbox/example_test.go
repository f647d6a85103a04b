package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/memory"
)

// Stock is what is left of an article.
type Stock struct {
	ID   string
	Left int
}

// However often a message is delivered, the stock falls once.
func Example() {
	ctx := context.Background()
	records, stocks := inbox.NewRecords(), uow.NewCollection[Stock]("stocks")
	db, err := memory.Open(ctx, uow.Config{Collections: append(records.Collections(), stocks)})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	err = db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		return stocks.In(u).Add(&Stock{ID: "tea", Left: 10})
	})
	if err != nil {
		log.Fatal(err)
	}

	warehouse, err := inbox.New(db, records, inbox.Config{Consumer: "warehouse"})
	if err != nil {
		log.Fatal(err)
	}
	ordered := func(ctx context.Context, u *uow.Unit) error {
		tea, err := stocks.In(u).Get(ctx, "tea")
		if err != nil {
			return err
		}
		tea.Left -= 3
		return nil
	}
	for range 3 {
		receipt, err := warehouse.Handle(ctx, inbox.Message{Source: "shop", ID: "order-1"}, ordered)
		fmt.Println("duplicate:", receipt.Duplicate, "error:", err)
	}
	err = db.View(ctx, func(ctx context.Context, v *uow.View) error {
		tea, err := stocks.From(v).Get(ctx, "tea")
		if err == nil {
			fmt.Println("left:", tea.Left)
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// duplicate: false error: <nil>
	// duplicate: true error: <nil>
	// duplicate: true error: <nil>
	// left: 7
}

// A client that repeats a request with the same key gets the first answer.
func ExampleHandleResult() {
	ctx := context.Background()
	records := inbox.NewRecords()
	db, err := memory.Open(ctx, uow.Config{Collections: records.Collections()})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	payments, err := inbox.New(db, records, inbox.Config{Consumer: "payments"})
	if err != nil {
		log.Fatal(err)
	}

	type Payment struct{ Number, Amount int }
	made := 0
	for range 2 {
		payment, receipt, err := inbox.HandleResult(ctx, payments, inbox.Message{Source: "alice", ID: "key-7"},
			func(context.Context, *uow.Unit) (Payment, error) {
				made++
				return Payment{Number: made, Amount: 30}, nil
			})
		fmt.Println(payment, receipt.Duplicate, err)
	}
	// Output:
	// {1 30} false <nil>
	// {1 30} true <nil>
}

// A consumer that refuses disorder leaves what comes too early to the broker.
func ExampleOrderError() {
	ctx := context.Background()
	records := inbox.NewRecords()
	db, err := memory.Open(ctx, uow.Config{Collections: records.Collections()})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ledger, err := inbox.New(db, records, inbox.Config{
		Consumer: "ledger", Order: inbox.RefuseDisorder, FromFirst: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, sequence := range []int64{1, 3, 2, 3} {
		_, err := ledger.Handle(ctx, inbox.Message{
			ID: fmt.Sprint("event-", sequence), Stream: "accounts/alice", Sequence: sequence,
		}, func(context.Context, *uow.Unit) error { return nil })
		fmt.Println(sequence, errors.Is(err, inbox.ErrGap))
	}
	// Output:
	// 1 false
	// 3 true
	// 2 false
	// 3 false
}

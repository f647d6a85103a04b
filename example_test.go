package uow_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
)

// Account is an aggregate: a plain struct with an id.
type Account struct {
	uow.Events
	ID      string
	Owner   string
	Balance int
}

// Withdrawn is a domain event.
type Withdrawn struct{ Amount int }

var errFunds = errors.New("insufficient funds")

// Withdraw takes money, and records that it did.
func (a *Account) Withdraw(amount int) error {
	if amount > a.Balance {
		return errFunds
	}
	a.Balance -= amount
	a.Record(Withdrawn{Amount: amount})
	return nil
}

var accounts = uow.Define(uow.CollectionConfig[Account]{
	Name: "accounts",
	Indexes: []uow.Index[Account]{
		{Name: "owner", Kind: uow.String, Value: func(a *Account) any { return a.Owner }},
		{Name: "balance", Kind: uow.Int, Value: func(a *Account) any { return a.Balance }},
	},
})

// openBank opens a database with two accounts.
func openBank(ctx context.Context) *uow.DB {
	db, err := memory.Open(ctx, uow.Config{Collections: []uow.AnyCollection{accounts}})
	if err != nil {
		log.Fatal(err)
	}
	err = db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		return errors.Join(
			accounts.In(u).Add(&Account{ID: "1", Owner: "alice", Balance: 100}),
			accounts.In(u).Add(&Account{ID: "2", Owner: "bob", Balance: 50}),
		)
	})
	if err != nil {
		log.Fatal(err)
	}
	return db
}

// A unit changes aggregates together, or not at all.
func Example() {
	ctx := context.Background()
	db := openBank(ctx)
	defer db.Close()

	transfer := func(amount int) error {
		return db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			alice, err := accounts.In(u).Get(ctx, "1")
			if err != nil {
				return err
			}
			bob, err := accounts.In(u).Get(ctx, "2")
			if err != nil {
				return err
			}
			bob.Balance += amount
			return alice.Withdraw(amount) // an error takes bob's money back too
		})
	}
	fmt.Println(transfer(30))
	fmt.Println(transfer(1000))

	_ = db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		all, err := accounts.In(u).Find(ctx, uow.Query{})
		for _, a := range all {
			fmt.Println(a.Owner, a.Balance)
		}
		return err
	})
	// Output:
	// <nil>
	// insufficient funds
	// alice 70
	// bob 80
}

// Events that aggregates record, and messages appended by hand, are stored by
// the commit of their unit. A relay publishes them afterwards; here the log is
// only read.
func Example_events() {
	ctx := context.Background()
	db := openBank(ctx)
	defer db.Close()

	err := db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		alice, err := accounts.In(u).Get(ctx, "1")
		if err != nil {
			return err
		}
		if err := alice.Withdraw(30); err != nil {
			return err
		}
		return outbox.Append(u, outbox.Message{Topic: "mail", Type: "SendReceipt", Payload: []byte("30 to alice")})
	})
	if err != nil {
		log.Fatal(err)
	}

	messages, err := outbox.Of(db)
	if err != nil {
		log.Fatal(err)
	}
	all, _, err := messages.Scan(ctx, outbox.Query{Limit: 10})
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range all {
		fmt.Println(m.Position, m.Topic, m.Type, string(m.Payload))
	}
	// Output:
	// 1 accounts Withdrawn {"Amount":30}
	// 2 mail SendReceipt 30 to alice
}

// An application names its own unit, so that its use cases see repositories
// only.
func ExampleBind() {
	type Bank struct{ Accounts *uow.Repository[Account] }

	ctx := context.Background()
	db := openBank(ctx)
	defer db.Close()
	bank := uow.Bind(db, func(u *uow.Unit) Bank { return Bank{Accounts: accounts.In(u)} })

	err := bank.Do(ctx, func(ctx context.Context, b Bank) error {
		alice, err := b.Accounts.Get(ctx, "1")
		if err != nil {
			return err
		}
		return alice.Withdraw(30)
	})
	fmt.Println(err)
	// Output: <nil>
}

// A version that went to a client can be demanded when the client comes back, so
// that nothing is overwritten that the client has not seen.
func ExampleRepository_Require() {
	ctx := context.Background()
	db := openBank(ctx)
	defer db.Close()

	edit := func(seen int64, owner string) error {
		return db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			a, err := accounts.In(u).Get(ctx, "1")
			if err != nil {
				return err
			}
			if err := accounts.In(u).Require(a, seen); err != nil {
				return err
			}
			a.Owner = owner
			return nil
		})
	}
	fmt.Println(edit(1, "Alice"))
	err := edit(1, "ALICE") // by somebody who has not seen the first edit
	fmt.Println(err)
	fmt.Println(errors.Is(err, uow.ErrConflict))
	// Output:
	// <nil>
	// uow: conflict: accounts/1: expected version 1, found version 2
	// true
}

// Queries ask for indexes, and see what the unit has changed itself.
func ExampleRepository_Find() {
	ctx := context.Background()
	db := openBank(ctx)
	defer db.Close()

	err := db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		if err := accounts.In(u).Add(&Account{ID: "3", Owner: "carol", Balance: 75}); err != nil {
			return err
		}
		rich, err := accounts.In(u).Find(ctx, uow.Query{
			Where: []uow.Condition{uow.GreaterOrEqual("balance", 50), uow.In("owner", "alice", "carol")},
			Order: []uow.Order{uow.Descending("balance")},
			Limit: 10,
		})
		for _, a := range rich {
			fmt.Println(a.Owner, a.Balance)
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// alice 100
	// carol 75
}

// Hooks run around the end of a unit.
func ExampleUnit_BeforeCommit() {
	ctx := context.Background()
	db := openBank(ctx)
	defer db.Close()

	withdraw := func(amount int) error {
		return db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			alice, err := accounts.In(u).Get(ctx, "1")
			if err != nil {
				return err
			}
			err = errors.Join(
				u.BeforeCommit(func(context.Context) error {
					if alice.Balance < 10 {
						return errors.New("at least 10 must stay")
					}
					return nil
				}),
				u.AfterCommit(func(context.Context) error { fmt.Println("committed"); return nil }),
				u.AfterRollback(func(context.Context, error) error { fmt.Println("rolled back"); return nil }),
			)
			if err != nil {
				return err
			}
			return alice.Withdraw(amount)
		})
	}
	fmt.Println(withdraw(30))
	fmt.Println(withdraw(65))
	// Output:
	// committed
	// <nil>
	// rolled back
	// uow: BeforeCommit hook: at least 10 must stay
}

// A unit can be ended by hand, where a closure does not fit.
func ExampleDB_Begin() {
	ctx := context.Background()
	db := openBank(ctx)
	defer db.Close()

	withdraw := func() error {
		u := db.Begin()
		defer u.Close() // rolls back unless committed
		alice, err := accounts.In(u).Get(ctx, "1")
		if err != nil {
			return err
		}
		if err := alice.Withdraw(30); err != nil {
			return err
		}
		return u.Commit(ctx)
	}
	fmt.Println(withdraw())
	// Output: <nil>
}

// A part of a unit may fail by itself: what it did is undone, and the unit goes
// on.
func ExampleUnit_Nested() {
	ctx := context.Background()
	db := openBank(ctx)
	defer db.Close()

	err := db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		alice, err := accounts.In(u).Get(ctx, "1")
		if err != nil {
			return err
		}
		bob, err := accounts.In(u).Get(ctx, "2")
		if err != nil {
			return err
		}
		for _, amount := range []int{30, 1000, 20} {
			err := u.Nested(ctx, func(context.Context, *uow.Unit) error {
				bob.Balance += amount
				return alice.Withdraw(amount)
			})
			fmt.Println(amount, err, alice.Balance, bob.Balance)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// 30 <nil> 70 80
	// 1000 insufficient funds 70 80
	// 20 <nil> 50 100
	// <nil>
}

// With Config.Retry, a closure runs again in a fresh unit when another unit was
// faster.
func ExampleRetry() {
	ctx := context.Background()
	db, err := memory.Open(ctx, uow.Config{
		Collections: []uow.AnyCollection{accounts},
		Retry:       uow.Retry{MaxAttempts: 5, Conflicts: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	err = db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		return accounts.In(u).Add(&Account{ID: "1", Owner: "alice", Balance: 100})
	})
	if err != nil {
		log.Fatal(err)
	}

	withdraw := func(ctx context.Context, amount int, meanwhile func()) error {
		return db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			alice, err := accounts.In(u).Get(ctx, "1")
			if err != nil {
				return err
			}
			fmt.Println("alice has", alice.Balance)
			meanwhile()
			return alice.Withdraw(amount)
		})
	}
	err = withdraw(ctx, 30, sync.OnceFunc(func() {
		if err := withdraw(ctx, 50, func() {}); err != nil {
			log.Fatal(err)
		}
	}))
	fmt.Println(err)
	// Output:
	// alice has 100
	// alice has 100
	// alice has 50
	// <nil>
}

package uowtest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/uowtest"
)

// Account is the one of the README.
type Account struct {
	uow.Events
	ID      string
	Balance int
}

// Withdrawn is recorded by Withdraw.
type Withdrawn struct{ Amount int }

// Withdraw takes money.
func (a *Account) Withdraw(amount int) error {
	if a.Balance < amount {
		return errors.New("not enough money")
	}
	a.Balance -= amount
	a.Record(Withdrawn{Amount: amount})
	return nil
}

// Total is a read model: how much was withdrawn.
type Total struct {
	ID     string
	Amount int
}

var (
	accounts = uow.NewCollection[Account]("accounts")
	totals   = uow.NewCollection[Total]("totals")
)

func bankConfig() uow.Config {
	return uow.Config{Collections: []uow.AnyCollection{accounts, totals}}
}

// openAccounts is the Setup of the bank.
func openAccounts(ctx context.Context, x *uowtest.Run) error {
	return x.DB.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		return errors.Join(
			accounts.In(u).Add(&Account{ID: "alice", Balance: 100}),
			accounts.In(u).Add(&Account{ID: "bob", Balance: 50}),
			totals.In(u).Add(&Total{ID: "all"}),
		)
	})
}

// books is what must be all or nothing: the balances, the total, the messages that
// are stored, and what was done outside.
type books struct {
	Alice, Bob, Total int
	Messages          int
	Mails, Charges    int
}

func lookUp(ctx context.Context, x *uowtest.Run) (any, error) {
	b := books{Mails: x.Did("send mail"), Charges: x.Did("charge card") - x.Did("refund card")}
	err := x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		alice, err1 := accounts.In(u).Get(ctx, "alice")
		bob, err2 := accounts.In(u).Get(ctx, "bob")
		total, err3 := totals.In(u).Get(ctx, "all")
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		b.Alice, b.Bob, b.Total = alice.Balance, bob.Balance, total.Amount
		return nil
	})
	if err != nil {
		return nil, err
	}
	log, err := outbox.Of(x.DB)
	if err != nil {
		return nil, err
	}
	stats, err := log.Stats(ctx)
	b.Messages = int(stats.Messages)
	return b, err
}

// transfer moves money in one unit.
func transfer(ctx context.Context, db *uow.DB, amount int) error {
	return db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		return move(ctx, u, amount)
	})
}

func move(ctx context.Context, u *uow.Unit, amount int) error {
	alice, err := accounts.In(u).Get(ctx, "alice")
	if err != nil {
		return err
	}
	bob, err := accounts.In(u).Get(ctx, "bob")
	if err != nil {
		return err
	}
	bob.Balance += amount
	return alice.Withdraw(amount)
}

// bank explores an operation of the bank.
func bank(operation func(ctx context.Context, x *uowtest.Run) error) uowtest.Exploration {
	return uowtest.Exploration{
		Config:    bankConfig(),
		Setup:     openAccounts,
		Operation: operation,
		Snapshot:  lookUp,
	}
}

func TestTransfer(t *testing.T) {
	uowtest.Explore(t, bank(func(ctx context.Context, x *uowtest.Run) error {
		return transfer(ctx, x.DB, 30)
	}))
}

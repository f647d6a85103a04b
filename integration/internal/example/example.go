// Package example is what the examples of other libraries inside a unit share: a
// database with tracked accounts and a table of the user's, and the proof that a unit
// is one.
package example

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// Account is the aggregate that units track. Its balance is also a column of the
// table accounts, which SQL can read.
type Account struct {
	ID      string
	Balance int64
}

// Bank is a database: accounts, and a table receipts (id, account_id, amount) of
// which units know nothing.
type Bank struct {
	*uow.DB
	Accounts *uow.Collection[Account]
	// SQL returns a unit as a *sql.DB: it is postgres.SQL, sqlite.SQL or mysql.SQL.
	SQL func(u *uow.Unit) *sql.DB
}

func newBank() *Bank {
	return &Bank{Accounts: uow.Define(uow.CollectionConfig[Account]{
		Name:    "accounts",
		Indexes: []uow.Index[Account]{{Name: "balance", Kind: uow.Int, Value: func(a *Account) any { return a.Balance }}},
	})}
}

func (b *Bank) config() uow.Config {
	return uow.Config{Collections: []uow.AnyCollection{b.Accounts}}
}

const receipts = `CREATE TABLE receipts (id varchar(100) PRIMARY KEY, account_id varchar(100) NOT NULL, amount bigint NOT NULL)`

// fill makes the table of the user's by exec, and stores an account.
func (b *Bank) fill(t testing.TB, exec func(ctx context.Context, u *uow.Unit) error) *Bank {
	t.Helper()
	err := b.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		return errors.Join(exec(ctx, u), b.Accounts.In(u).Add(&Account{ID: "alice", Balance: 100}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Pay is an example: it takes the amount from the account alice, flushes, writes a
// receipt of the id and appends a message with the id as its key. It returns the
// balance that its library then reads.
type Pay func(ctx context.Context, u *uow.Unit, id string, amount int64) (balance int64, err error)

var errBoom = errors.New("boom")

// Prove shows that all of a payment is there after the commit, and nothing of it
// after an error, a panic, or the end of a nested unit that failed.
func (b *Bank) Prove(t *testing.T, pay Pay) {
	t.Helper()
	once := func(ctx context.Context, u *uow.Unit, id string, before int64) {
		t.Helper()
		switch balance, err := pay(ctx, u, id, 10); {
		case err != nil:
			t.Fatalf("%s: %v", id, err)
		case balance != before-10:
			t.Errorf("%s: after the flush the library reads the balance %d, want %d", id, balance, before-10)
		}
	}

	err := b.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		once(ctx, u, "failed", 100)
		return errBoom
	})
	if !errors.Is(err, errBoom) {
		t.Errorf("the unit's error is %v, want what the closure returned", err)
	}
	b.want(t, "after an error", 100)

	func() {
		defer func() { _ = recover() }()
		_ = b.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
			once(ctx, u, "panicked", 100)
			panic("boom") //nolint:forbidigo // it is what is tried
		})
	}()
	b.want(t, "after a panic", 100)

	err = b.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		once(ctx, u, "paid", 100)
		err := u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
			once(ctx, u, "nested", 90)
			return errBoom
		})
		if !errors.Is(err, errBoom) {
			t.Errorf("the nested unit's error is %v, want what the closure returned", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.want(t, "after the commit", 90, "paid")
}

// want demands the account's balance, and a receipt and a message of each payment.
func (b *Bank) want(t *testing.T, when string, balance int64, payments ...string) {
	t.Helper()
	var receipts, messages []string
	var account *Account
	err := b.Do(t.Context(), func(ctx context.Context, u *uow.Unit) (err error) {
		if account, err = b.Accounts.In(u).Get(ctx, "alice"); err != nil {
			return err
		}
		rows, err := b.SQL(u).QueryContext(ctx, `SELECT id FROM receipts`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // rows.Err says it
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			receipts = append(receipts, id)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	log, err := outbox.Of(b.DB)
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := log.Scan(t.Context(), outbox.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		messages = append(messages, m.Key)
	}
	got := fmt.Sprint(account.Balance, receipts, messages)
	if want := fmt.Sprint(balance, payments, payments); got != want {
		t.Errorf("%s: balance, receipts and messages are %s, want %s", when, got, want)
	}
}

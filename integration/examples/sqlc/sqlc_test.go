package sqlc

import (
	"context"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/examples/sqlc/lite"
	"github.com/uow-go/uow/integration/examples/sqlc/pg"
	"github.com/uow-go/uow/integration/internal/example"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

// onPostgres is one unit's work, with code that sqlc has generated for pgx.
func onPostgres(ctx context.Context, u *uow.Unit, bank *example.Bank, id string, amount int64) (balance int64, err error) {
	account, err := bank.Accounts.In(u).Get(ctx, "alice")
	if err != nil {
		return 0, err
	}
	account.Balance -= amount
	if err := u.Flush(ctx); err != nil { // the queries below read it
		return 0, err
	}

	queries := pg.New(postgres.Tx(u))
	if err := queries.AddReceipt(ctx, pg.AddReceiptParams{ID: id, AccountID: account.ID, Amount: amount}); err != nil {
		return 0, err
	}
	read, err := queries.Balance(ctx, account.ID)
	if err != nil {
		return 0, err
	}

	return read.Int64, outbox.Append(u, outbox.Message{Topic: "payments", Key: id, Type: "Paid"})
}

// onSQLite is the same with code for database/sql.
func onSQLite(ctx context.Context, u *uow.Unit, bank *example.Bank, id string, amount int64) (balance int64, err error) {
	account, err := bank.Accounts.In(u).Get(ctx, "alice")
	if err != nil {
		return 0, err
	}
	account.Balance -= amount
	if err := u.Flush(ctx); err != nil { // the queries below read it
		return 0, err
	}

	queries := lite.New(sqlite.Tx(u))
	if err := queries.AddReceipt(ctx, lite.AddReceiptParams{ID: id, AccountID: account.ID, Amount: amount}); err != nil {
		return 0, err
	}
	read, err := queries.Balance(ctx, account.ID)
	if err != nil {
		return 0, err
	}

	return read.Int64, outbox.Append(u, outbox.Message{Topic: "payments", Key: id, Type: "Paid"})
}

func TestPostgres(t *testing.T) {
	bank := example.Postgres(t)
	bank.Prove(t, func(ctx context.Context, u *uow.Unit, id string, amount int64) (int64, error) {
		return onPostgres(ctx, u, bank, id, amount)
	})
}

func TestSQLite(t *testing.T) {
	bank := example.SQLite(t)
	bank.Prove(t, func(ctx context.Context, u *uow.Unit, id string, amount int64) (int64, error) {
		return onSQLite(ctx, u, bank, id, amount)
	})
}

// Package bun shows bun in a unit.
package bun

import (
	"context"
	"testing"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/example"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

// Receipt is a row of the table receipts.
type Receipt struct {
	ID        string `bun:",pk"`
	AccountID string
	Amount    int64
}

func onPostgres(u *uow.Unit) bun.IDB { return bun.NewDB(postgres.SQL(u), pgdialect.New()) }
func onSQLite(u *uow.Unit) bun.IDB   { return bun.NewDB(sqlite.SQL(u), sqlitedialect.New()) }
func onMySQL(u *uow.Unit) bun.IDB    { return bun.NewDB(mysql.SQL(u), mysqldialect.New()) }

// pay is one unit's work.
func pay(ctx context.Context, u *uow.Unit, bank *example.Bank, orm bun.IDB, id string, amount int64) (balance int64, err error) {
	account, err := bank.Accounts.In(u).Get(ctx, "alice")
	if err != nil {
		return 0, err
	}
	account.Balance -= amount
	if err := u.Flush(ctx); err != nil { // bun reads it below
		return 0, err
	}

	receipt := &Receipt{ID: id, AccountID: account.ID, Amount: amount}
	if _, err := orm.NewInsert().Model(receipt).Exec(ctx); err != nil {
		return 0, err
	}
	if err := orm.NewSelect().Table("accounts").Column("balance").Where("id = ?", account.ID).Scan(ctx, &balance); err != nil {
		return 0, err
	}

	return balance, outbox.Append(u, outbox.Message{Topic: "payments", Key: id, Type: "Paid"})
}

// payOrNot is pay within a transaction of bun's, which is a nested unit: where it
// fails, the account and the message go back as well.
func payOrNot(ctx context.Context, u *uow.Unit, bank *example.Bank, orm bun.IDB, id string, amount int64) (balance int64, err error) {
	err = orm.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		balance, err = pay(ctx, u, bank, tx, id, amount)
		return err
	})
	return balance, err
}

type payment func(ctx context.Context, u *uow.Unit, bank *example.Bank, orm bun.IDB, id string, amount int64) (int64, error)

func prove(t *testing.T, bank *example.Bank, open func(u *uow.Unit) bun.IDB, pay payment) {
	bank.Prove(t, func(ctx context.Context, u *uow.Unit, id string, amount int64) (int64, error) {
		return pay(ctx, u, bank, open(u), id, amount)
	})
}

func TestPostgres(t *testing.T)            { prove(t, example.Postgres(t), onPostgres, pay) }
func TestPostgresTransaction(t *testing.T) { prove(t, example.Postgres(t), onPostgres, payOrNot) }
func TestSQLite(t *testing.T)              { prove(t, example.SQLite(t), onSQLite, pay) }
func TestSQLiteTransaction(t *testing.T)   { prove(t, example.SQLite(t), onSQLite, payOrNot) }
func TestMySQL(t *testing.T)               { prove(t, example.MySQL(t), onMySQL, pay) }
func TestMySQLTransaction(t *testing.T)    { prove(t, example.MySQL(t), onMySQL, payOrNot) }

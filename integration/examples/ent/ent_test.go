package ent

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/examples/ent/client"
	"github.com/uow-go/uow/integration/examples/ent/client/receipt"
	"github.com/uow-go/uow/integration/internal/example"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

func onPostgres(u *uow.Unit) *entsql.Driver {
	return entsql.OpenDB(dialect.Postgres, postgres.SQL(u))
}

func onSQLite(u *uow.Unit) *entsql.Driver {
	return entsql.OpenDB(dialect.SQLite, sqlite.SQL(u))
}

func onMySQL(u *uow.Unit) *entsql.Driver {
	return entsql.OpenDB(dialect.MySQL, mysql.SQL(u))
}

// pay is one unit's work.
func pay(ctx context.Context, u *uow.Unit, bank *example.Bank, driver *entsql.Driver, id string, amount int64) (balance int64, err error) {
	account, err := bank.Accounts.In(u).Get(ctx, "alice")
	if err != nil {
		return 0, err
	}
	account.Balance -= amount
	if err := u.Flush(ctx); err != nil { // ent reads it below
		return 0, err
	}

	orm := client.NewClient(client.Driver(driver))
	if err := orm.Receipt.Create().SetID(id).SetAccountID(account.ID).SetAmount(amount).Exec(ctx); err != nil {
		return 0, err
	}
	if balance, err = readBalance(ctx, driver, account.ID); err != nil {
		return 0, err
	}

	return balance, outbox.Append(u, outbox.Message{Topic: "payments", Key: id, Type: "Paid"})
}

// readBalance reads with ent's own query builder: the table is not in its schema.
func readBalance(ctx context.Context, driver *entsql.Driver, account string) (balance int64, err error) {
	query, args := entsql.Dialect(driver.Dialect()).
		Select("balance").From(entsql.Table("accounts")).Where(entsql.EQ("id", account)).Query()
	var rows entsql.Rows
	if err := driver.Query(ctx, query, args, &rows); err != nil {
		return 0, err
	}
	defer rows.Close()
	if !rows.Next() {
		return 0, errors.Join(sql.ErrNoRows, rows.Err())
	}
	return balance, errors.Join(rows.Scan(&balance), rows.Err())
}

func prove(t *testing.T, bank *example.Bank, open func(u *uow.Unit) *entsql.Driver) {
	bank.Prove(t, func(ctx context.Context, u *uow.Unit, id string, amount int64) (int64, error) {
		return pay(ctx, u, bank, open(u), id, amount)
	})
}

func TestPostgres(t *testing.T) { prove(t, example.Postgres(t), onPostgres) }
func TestSQLite(t *testing.T)   { prove(t, example.SQLite(t), onSQLite) }
func TestMySQL(t *testing.T)    { prove(t, example.MySQL(t), onMySQL) }

// TestTransaction has transactions of ent's, which are nested units: one that is
// rolled back takes its changes of tracked accounts along.
func TestTransaction(t *testing.T) {
	bank := example.SQLite(t)
	err := bank.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		account, err := bank.Accounts.In(u).Get(ctx, "alice")
		if err != nil {
			return err
		}
		orm := client.NewClient(client.Driver(onSQLite(u)))
		for _, id := range []string{"kept", "undone"} {
			tx, err := orm.Tx(ctx)
			if err != nil {
				return err
			}
			account.Balance -= 10
			if err := tx.Receipt.Create().SetID(id).SetAccountID(account.ID).SetAmount(10).Exec(ctx); err != nil {
				return errors.Join(err, tx.Rollback())
			}
			if id == "kept" {
				err = tx.Commit()
			} else {
				err = tx.Rollback()
			}
			if err != nil {
				return err
			}
		}
		left, err := orm.Receipt.Query().Where(receipt.Amount(10)).IDs(ctx)
		if err != nil {
			return err
		}
		if len(left) != 1 || left[0] != "kept" || account.Balance != 90 {
			t.Errorf("the receipts are %v and the balance %d, want kept and 90", left, account.Balance)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

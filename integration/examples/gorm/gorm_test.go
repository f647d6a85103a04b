// Package gorm shows GORM in a unit.
package gorm

import (
	"context"
	"testing"

	gormsqlite "github.com/libtnb/sqlite"
	gormmysql "gorm.io/driver/mysql"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/example"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

// Receipt is a row of the table receipts.
type Receipt struct {
	ID        string `gorm:"primaryKey"`
	AccountID string
	Amount    int64
}

// onPostgres opens GORM on a unit. The unit is the transaction: without
// SkipDefaultTransaction GORM would begin one inside it for each write.
func onPostgres(u *uow.Unit) (*gorm.DB, error) {
	return gorm.Open(gormpostgres.New(gormpostgres.Config{Conn: postgres.SQL(u)}), &gorm.Config{SkipDefaultTransaction: true})
}

func onSQLite(u *uow.Unit) (*gorm.DB, error) {
	return gorm.Open(gormsqlite.New(gormsqlite.Config{Conn: sqlite.SQL(u)}), &gorm.Config{SkipDefaultTransaction: true})
}

func onMySQL(u *uow.Unit) (*gorm.DB, error) {
	return gorm.Open(gormmysql.New(gormmysql.Config{Conn: mysql.SQL(u)}), &gorm.Config{SkipDefaultTransaction: true})
}

// within puts a unit under a GORM that was opened once: it keeps what it has learnt of
// models, which opening it for each unit does not.
func within(ctx context.Context, orm *gorm.DB, conn gorm.ConnPool) *gorm.DB {
	orm = orm.Session(&gorm.Session{NewDB: true, Context: ctx})
	orm.Statement.ConnPool = conn
	return orm
}

// pay is one unit's work.
func pay(ctx context.Context, u *uow.Unit, bank *example.Bank, orm *gorm.DB, id string, amount int64) (balance int64, err error) {
	account, err := bank.Accounts.In(u).Get(ctx, "alice")
	if err != nil {
		return 0, err
	}
	account.Balance -= amount
	if err := u.Flush(ctx); err != nil { // GORM reads it below
		return 0, err
	}

	orm = orm.WithContext(ctx)
	if err := orm.Create(&Receipt{ID: id, AccountID: account.ID, Amount: amount}).Error; err != nil {
		return 0, err
	}
	if err := orm.Table("accounts").Where("id = ?", account.ID).Pluck("balance", &balance).Error; err != nil {
		return 0, err
	}

	return balance, outbox.Append(u, outbox.Message{Topic: "payments", Key: id, Type: "Paid"})
}

// payOrNot is pay within a transaction of GORM's, which is a nested unit: where it
// fails, the account and the message go back as well.
func payOrNot(ctx context.Context, u *uow.Unit, bank *example.Bank, orm *gorm.DB, id string, amount int64) (balance int64, err error) {
	err = orm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		balance, err = pay(ctx, u, bank, tx, id, amount)
		return err
	})
	return balance, err
}

type payment func(ctx context.Context, u *uow.Unit, bank *example.Bank, orm *gorm.DB, id string, amount int64) (int64, error)

func prove(t *testing.T, bank *example.Bank, open func(u *uow.Unit) (*gorm.DB, error), pay payment) {
	bank.Prove(t, func(ctx context.Context, u *uow.Unit, id string, amount int64) (int64, error) {
		orm, err := open(u)
		if err != nil {
			return 0, err
		}
		return pay(ctx, u, bank, orm, id, amount)
	})
}

func TestPostgres(t *testing.T)            { prove(t, example.Postgres(t), onPostgres, pay) }
func TestPostgresTransaction(t *testing.T) { prove(t, example.Postgres(t), onPostgres, payOrNot) }
func TestSQLite(t *testing.T)              { prove(t, example.SQLite(t), onSQLite, pay) }
func TestSQLiteTransaction(t *testing.T)   { prove(t, example.SQLite(t), onSQLite, payOrNot) }
func TestMySQL(t *testing.T)               { prove(t, example.MySQL(t), onMySQL, pay) }
func TestMySQLTransaction(t *testing.T)    { prove(t, example.MySQL(t), onMySQL, payOrNot) }

// TestOpenedOnce has one GORM for all units. It never has a connection of its own.
func TestOpenedOnce(t *testing.T) {
	orm, err := gorm.Open(gormpostgres.New(gormpostgres.Config{}), &gorm.Config{SkipDefaultTransaction: true, DisableAutomaticPing: true})
	if err != nil {
		t.Fatal(err)
	}
	bank := example.Postgres(t)
	bank.Prove(t, func(ctx context.Context, u *uow.Unit, id string, amount int64) (int64, error) {
		return pay(ctx, u, bank, within(ctx, orm, postgres.SQL(u)), id, amount)
	})
}

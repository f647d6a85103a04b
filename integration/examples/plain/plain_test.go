// Package plain shows the user's own SQL in a unit, without any library: the native
// transaction by Tx.
package plain

import (
	"context"
	"database/sql"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/example"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

// onPostgres is one unit's work, by pgx.
func onPostgres(ctx context.Context, u *uow.Unit, bank *example.Bank, id string, amount int64) (balance int64, err error) {
	account, err := bank.Accounts.In(u).Get(ctx, "alice")
	if err != nil {
		return 0, err
	}
	account.Balance -= amount
	if err := u.Flush(ctx); err != nil { // the SQL below reads it
		return 0, err
	}

	tx := postgres.Tx(u)
	if _, err := tx.Exec(ctx, `INSERT INTO receipts VALUES ($1, $2, $3)`, id, account.ID, amount); err != nil {
		return 0, err
	}
	if err := tx.QueryRow(ctx, `SELECT balance FROM accounts WHERE id = $1`, account.ID).Scan(&balance); err != nil {
		return 0, err
	}

	return balance, outbox.Append(u, outbox.Message{Topic: "payments", Key: id, Type: "Paid"})
}

// handle is what sqlite.Tx and mysql.Tx have of database/sql.
type handle interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// byDatabaseSQL is the same by database/sql, on SQLite and MySQL.
func byDatabaseSQL(ctx context.Context, u *uow.Unit, tx handle, bank *example.Bank, id string, amount int64) (balance int64, err error) {
	account, err := bank.Accounts.In(u).Get(ctx, "alice")
	if err != nil {
		return 0, err
	}
	account.Balance -= amount
	if err := u.Flush(ctx); err != nil { // the SQL below reads it
		return 0, err
	}

	if _, err := tx.ExecContext(ctx, `INSERT INTO receipts VALUES (?, ?, ?)`, id, account.ID, amount); err != nil {
		return 0, err
	}
	if err := tx.QueryRowContext(ctx, `SELECT balance FROM accounts WHERE id = ?`, account.ID).Scan(&balance); err != nil {
		return 0, err
	}

	return balance, outbox.Append(u, outbox.Message{Topic: "payments", Key: id, Type: "Paid"})
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
		return byDatabaseSQL(ctx, u, sqlite.Tx(u), bank, id, amount)
	})
}

func TestMySQL(t *testing.T) {
	bank := example.MySQL(t)
	bank.Prove(t, func(ctx context.Context, u *uow.Unit, id string, amount int64) (int64, error) {
		return byDatabaseSQL(ctx, u, mysql.Tx(u), bank, id, amount)
	})
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow/integration/bench/entdb"
	"github.com/uow-go/uow/integration/bench/entdb/account"
)

// entClient is ent's generated client on database/sql, with pgx beneath.
type entClient struct {
	client *entdb.Client
	postgresSums
	event Changed
}

func openEnt(ctx context.Context, dsn string) (Subject, error) {
	db, sums, err := fillSQL(ctx, dsn, pgx.QueryExecModeCacheStatement)
	if err != nil {
		return nil, err
	}
	client := entdb.NewClient(entdb.Driver(entsql.OpenDB(dialect.Postgres, db)))
	return entClient{client, sums, newEvent()}, nil
}

func (s entClient) Unit(ctx context.Context, id string, change func(*Account)) error {
	tx, err := s.client.Tx(ctx)
	if err != nil {
		return err
	}
	if err := s.work(ctx, tx, id, change); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (s entClient) work(ctx context.Context, tx *entdb.Tx, id string, change func(*Account)) error {
	a, err := tx.Account.Get(ctx, id)
	if err != nil {
		return err
	}
	change((*Account)(&a.Body))
	n, err := tx.Account.Update().Where(account.ID(id), account.Version(a.Version)).
		SetVersion(a.Version + 1).SetBody(a.Body).Save(ctx)
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%w: %s", ErrConflict, id)
	}
	message, payload, err := newMessage(s.event)
	if err != nil {
		return err
	}
	return tx.Message.Create().SetMessageID(message).SetTopic("accounts").SetOrderingKey(id).
		SetType("Changed").SetCreatedAt(time.Now()).SetPayload(payload).Exec(ctx)
}

func (s entClient) Close() error { return s.client.Close() }

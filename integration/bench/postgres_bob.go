package bench

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stephenafamo/bob"
	"github.com/stephenafamo/bob/dialect/psql"
	"github.com/stephenafamo/bob/dialect/psql/im"
	"github.com/stephenafamo/bob/dialect/psql/sm"
	"github.com/stephenafamo/bob/dialect/psql/um"
	"github.com/stephenafamo/scan"
)

type bobAccount struct {
	Version int64
	Body    []byte
}

// bobDB is bob's query builder on database/sql, and pgx beneath. (Its own driver for
// pgx rolls transactions back in a goroutine, which races with the commit.)
type bobDB struct {
	db bob.DB
	postgresSums
	event Changed
}

func openBob(ctx context.Context, dsn string) (Subject, error) {
	db, sums, err := fillSQL(ctx, dsn, pgx.QueryExecModeCacheStatement)
	return bobDB{bob.NewDB(db), sums, newEvent()}, err
}

func (s bobDB) Unit(ctx context.Context, id string, change func(*Account)) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bob.Executor) error {
		a, err := bob.One(ctx, tx, psql.Select(
			sm.Columns("version", "body"), sm.From("accounts"), sm.Where(psql.Quote("id").EQ(psql.Arg(id))),
		), scan.StructMapper[bobAccount]())
		if err != nil {
			return err
		}
		body, err := edit(a.Body, change)
		if err != nil {
			return err
		}
		result, err := bob.Exec(ctx, tx, psql.Update(
			um.Table("accounts"), um.SetCol("version").ToArg(a.Version+1), um.SetCol("body").ToArg(body),
			um.Where(psql.Quote("id").EQ(psql.Arg(id))), um.Where(psql.Quote("version").EQ(psql.Arg(a.Version))),
		))
		if err != nil {
			return err
		}
		if err := changedOne(result, id); err != nil {
			return err
		}
		message, payload, err := newMessage(s.event)
		if err != nil {
			return err
		}
		_, err = bob.Exec(ctx, tx, psql.Insert(
			im.Into("outbox", "id", "topic", "ordering_key", "type", "created_at", "payload"),
			im.Values(psql.Arg(message, "accounts", id, "Changed", time.Now(), payload)),
		))
		return err
	})
}

func (s bobDB) Close() error { return s.db.Close() }

package bench

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

type bunAccount struct {
	bun.BaseModel `bun:"table:accounts"`

	ID      string `bun:",pk"`
	Version int64
	Body    Account `bun:"type:json"`
}

type bunMessage struct {
	bun.BaseModel `bun:"table:outbox"`

	ID          string
	Topic       string
	OrderingKey string
	Type        string
	CreatedAt   time.Time
	Payload     []byte
}

// bunDB is bun on pgx with the simple protocol, as its documentation advises: bun
// writes values into the text of its statements, which are not worth preparing.
type bunDB struct {
	db *bun.DB
	postgresSums
	event Changed
}

func openBun(ctx context.Context, dsn string) (Subject, error) {
	conns, sums, err := fillSQL(ctx, dsn, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	return bunDB{bun.NewDB(conns, pgdialect.New()), sums, newEvent()}, nil
}

func (s bunDB) Unit(ctx context.Context, id string, change func(*Account)) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var a bunAccount
		if err := tx.NewSelect().Model(&a).Where("id = ?", id).Scan(ctx); err != nil {
			return err
		}
		change(&a.Body)
		loaded := a.Version
		a.Version++
		result, err := tx.NewUpdate().Model(&a).WherePK().Where("version = ?", loaded).Exec(ctx)
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
		_, err = tx.NewInsert().Model(&bunMessage{
			ID: message, Topic: "accounts", OrderingKey: id, Type: "Changed", CreatedAt: time.Now(), Payload: payload,
		}).Exec(ctx)
		return err
	})
}

func (s bunDB) Close() error { return s.db.Close() }

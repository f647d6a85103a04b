package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// byHand is what the variants by hand with pgx share.
type byHand struct {
	pool *pgxpool.Pool
	postgresSums
	event Changed
}

func newByHand(ctx context.Context, dsn string) (h byHand, err error) {
	h.event = newEvent()
	if h.postgresSums, err = fillPostgres(ctx, dsn, Rows); err != nil {
		return h, err
	}
	h.pool, err = newPool(ctx, dsn)
	return h, err
}

func (h byHand) Close() error {
	h.pool.Close()
	return nil
}

// queries is a transaction or a pool of pgx.
type queries interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// loadChangeSave is what one writes between BEGIN and COMMIT.
func loadChangeSave(ctx context.Context, tx queries, id string, change func(*Account), event Changed) error {
	var version int64
	var body []byte
	if err := tx.QueryRow(ctx, pgSelect, id).Scan(&version, &body); err != nil {
		return err
	}
	body, err := edit(body, change)
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, pgUpdate, body, id, version)
	if err != nil {
		return err
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("%w: %s", ErrConflict, id)
	}
	message, payload, err := newMessage(event)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, pgInsert, message, "accounts", id, "Changed", time.Now(), payload)
	return err
}

// fiveTrips sends one statement at a time: BEGIN, SELECT, UPDATE, INSERT, COMMIT.
type fiveTrips struct{ byHand }

func openFiveTrips(ctx context.Context, dsn string) (Subject, error) {
	h, err := newByHand(ctx, dsn)
	return fiveTrips{h}, err
}

func (s fiveTrips) Unit(ctx context.Context, id string, change func(*Account)) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		return loadChangeSave(ctx, tx, id, change, s.event)
	})
}

// twoTrips is the best that one writes by hand with pgx's batches: BEGIN with the
// read, and the writes with COMMIT. The message is only inserted where the account
// was updated; where it was not, COMMIT commits nothing.
type twoTrips struct{ byHand }

const pgUpdateAndInsert = `WITH updated AS (
		UPDATE accounts SET version = version + 1, body = $1 WHERE id = $2 AND version = $3 RETURNING id)
	INSERT INTO outbox (id, topic, ordering_key, type, created_at, payload) SELECT $4, $5, id, $6, $7, $8 FROM updated`

func openTwoTrips(ctx context.Context, dsn string) (Subject, error) {
	h, err := newByHand(ctx, dsn)
	return twoTrips{h}, err
}

func (s twoTrips) Unit(ctx context.Context, id string, change func(*Account)) error {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release() // which closes the connection if its transaction is still open
	version, body, err := beginAndLoad(ctx, c, id)
	if err != nil {
		return err
	}
	if body, err = edit(body, change); err != nil {
		return err
	}
	message, payload, err := newMessage(s.event)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(pgUpdateAndInsert, body, id, version, message, "accounts", "Changed", time.Now(), payload)
	batch.Queue("commit")
	results := c.SendBatch(ctx, batch)
	written, err := results.Exec()
	if err != nil {
		return errors.Join(err, results.Close())
	}
	committed, err := results.Exec()
	if err := errors.Join(err, results.Close()); err != nil {
		return err
	}
	if written.RowsAffected() != 1 || committed.String() != "COMMIT" {
		return fmt.Errorf("%w: %s (%s, %s)", ErrConflict, id, written, committed)
	}
	return nil
}

func beginAndLoad(ctx context.Context, c *pgxpool.Conn, id string) (version int64, body []byte, err error) {
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(pgSelect, id)
	results := c.SendBatch(ctx, batch)
	_, err = results.Exec()
	if err == nil {
		err = results.QueryRow().Scan(&version, &body)
	}
	return version, body, errors.Join(err, results.Close())
}

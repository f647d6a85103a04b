package bench

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
)

const (
	handTables = `
		CREATE TABLE outbox (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
			id text NOT NULL, ordering_key text NOT NULL, payload bytea NOT NULL);
		CREATE TABLE cursors (name text PRIMARY KEY, position bigint NOT NULL) WITH (fillfactor = 20);
		INSERT INTO cursors VALUES ('relay', 0)`
	handInsert = `INSERT INTO outbox (id, ordering_key, payload) VALUES ($1, $2, $3)`
	// What is committed while an older transaction runs waits for it, since that may
	// have been given an earlier position.
	handSelect = `SELECT position, id, payload FROM outbox WHERE position > $1 AND xact < pg_snapshot_xmin(pg_current_snapshot())
		ORDER BY position LIMIT $2`
	handMove = `UPDATE cursors SET position = $1 WHERE name = 'relay'`
)

// handDrain is a loop as one would write it who has time: a cursor, a thousand messages a
// batch, published asynchronously.
func handDrain() drain {
	return drain{name: "by hand, 1,000 a batch", share: 1, ordered: true,
		open: func(ctx context.Context, s *site, n int) (func(context.Context) error, func() error, error) {
			pool, err := newPool(ctx, s.where)
			if err != nil {
				return nil, nil, err
			}
			end := func() error { pool.Close(); return nil }
			if err := fillByHand(ctx, pool, n); err != nil {
				return nil, nil, errors.Join(err, end())
			}
			return func(ctx context.Context) error {
				for position := int64(0); ctx.Err() == nil; {
					next, moved, err := s.handBatch(ctx, pool, position)
					if err != nil || moved == 0 {
						return err
					}
					position = next
				}
				return nil
			}, end, nil
		}}
}

// fillByHand makes the tables, and lets n messages wait.
func fillByHand(ctx context.Context, pool *pgxpool.Pool, n int) error {
	c, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	if _, err := c.Exec(ctx, handTables, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	_, err = c.CopyFrom(ctx, pgx.Identifier{"outbox"}, []string{"id", "ordering_key", "payload"}, pgx.CopyFromSlice(n, func(i int) ([]any, error) {
		key, payload := newParcel(i)
		return []any{parcelID(i), key, payload}, nil
	}))
	return err
}

// handBatch publishes what is next, waits for the answers, and moves the cursor.
func (s *site) handBatch(ctx context.Context, pool *pgxpool.Pool, position int64) (next int64, n int, err error) {
	rows, err := pool.Query(ctx, handSelect, position, 1000)
	if err != nil {
		return position, 0, err
	}
	var messages []*nats.Msg
	var id string
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&position, &id, &payload}, func() error {
		messages = append(messages, &nats.Msg{Subject: s.stream, Data: payload, Header: nats.Header{nats.MsgIdHdr: {id}}})
		payload = nil
		return nil
	})
	if err != nil || len(messages) == 0 {
		return position, 0, err
	}
	if err := publishAll(ctx, s.js, messages); err != nil {
		return position, 0, err
	}
	if _, err := pool.Exec(ctx, handMove, position); err != nil {
		return position, 0, err
	}
	return position, len(messages), nil
}

// handLoop publishes until ctx ends: what a NOTIFY announces, looking again each
// millisecond where an older transaction is in the way, and every 100 ms.
func (s *site) handLoop(ctx context.Context, pool *pgxpool.Pool, ready chan<- struct{}) error {
	c, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	if _, err := c.Exec(ctx, "LISTEN outbox"); err != nil {
		return err
	}
	close(ready)
	pause := 100 * time.Millisecond
	for position := int64(0); ; {
		for n := 1; n > 0; {
			if position, n, err = s.handBatch(ctx, pool, position); n > 0 {
				pause = 100 * time.Millisecond
			}
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
		}
		wait, cancel := context.WithTimeout(ctx, pause)
		_, err := c.Conn().WaitForNotification(wait)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			pause = time.Millisecond
		} else if !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pgSeen   = `CREATE TABLE seen (id text PRIMARY KEY)`
	pgSee    = `INSERT INTO seen (id) VALUES ($1) ON CONFLICT DO NOTHING`
	pgLocked = pgSelect + ` FOR UPDATE`

	pgSeeMany    = `INSERT INTO seen (id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING RETURNING id`
	pgLockMany   = `SELECT id, body FROM accounts WHERE id = ANY ($1) ORDER BY id FOR UPDATE`
	pgUpdateMany = `UPDATE accounts SET version = version + 1, body = n.body::json
		FROM unnest($1::text[], $2::text[]) AS n (id, body) WHERE accounts.id = n.id`
)

// openSeen opens a pool on accounts and a table of ids.
func openSeen(ctx context.Context, s *site) (*pgxpool.Pool, *handling, error) {
	if _, err := fillPostgres(ctx, s.where, Rows); err != nil {
		return nil, nil, err
	}
	if err := execute(ctx, s.where, pgSeen); err != nil {
		return nil, nil, err
	}
	beside, err := newSQL(s.where, pgx.QueryExecModeExec)
	if err != nil {
		return nil, nil, err
	}
	pool, err := newPool(ctx, s.where)
	if err != nil {
		return nil, nil, errors.Join(err, beside.Close())
	}
	return pool, &handling{
		accounts: func(ctx context.Context) ([]Account, error) { return accountsIn(ctx, beside) },
		ids:      func(ctx context.Context) ([]string, error) { return seenIn(ctx, beside) },
		end:      func() error { pool.Close(); return beside.Close() },
	}, nil
}

// postgresByHand has one transaction for each message.
func postgresByHand(name string, share float64, workers int, once func(ctx context.Context, pool *pgxpool.Pool, id, account string, payload []byte) error) consumption {
	return consumption{name: name, share: share, ordered: workers == 1, open: func(ctx context.Context, s *site, handled *countdown) (*handling, error) {
		pool, h, err := openSeen(ctx, s)
		if err != nil {
			return nil, err
		}
		h.run = func(ctx context.Context) error {
			return s.eachMessage(ctx, workers, handled, func(ctx context.Context, m jetstream.Msg) error {
				account, err := accountOf(m.Data())
				if err != nil {
					return err
				}
				return once(ctx, pool, idOf(m), account, m.Data())
			})
		}
		return h, nil
	}}
}

// fiveTripsOnce is what everyone writes: BEGIN, INSERT of the id, SELECT, UPDATE, COMMIT.
func fiveTripsOnce(ctx context.Context, pool *pgxpool.Pool, id, account string, payload []byte) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, pgSee, id)
		if err != nil || tag.RowsAffected() == 0 { // it was handled
			return err
		}
		var version int64
		var body []byte
		if err := tx.QueryRow(ctx, pgLocked, account).Scan(&version, &body); err != nil {
			return err
		}
		if body, err = applyTo(body, payload); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, pgUpdate, body, account, version)
		return err
	})
}

// twoTripsOnce sends the same as two batches.
func twoTripsOnce(ctx context.Context, pool *pgxpool.Pool, id, account string, payload []byte) error {
	c, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release() // which closes the connection if its transaction is still open
	fresh, version, body, err := beginAndSee(ctx, c, id, account)
	if err != nil {
		return err
	}
	if !fresh {
		_, err := c.Exec(ctx, "rollback")
		return err
	}
	if body, err = applyTo(body, payload); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(pgUpdate, body, account, version)
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
		return fmt.Errorf("bench: message %s: %s, %s", id, written, committed)
	}
	return nil
}

func beginAndSee(ctx context.Context, c *pgxpool.Conn, id, account string) (fresh bool, version int64, body []byte, err error) {
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(pgSee, id)
	batch.Queue(pgLocked, account)
	results := c.SendBatch(ctx, batch)
	if _, err = results.Exec(); err != nil {
		return false, 0, nil, errors.Join(err, results.Close())
	}
	seen, err := results.Exec()
	if err == nil {
		err = results.QueryRow().Scan(&version, &body)
	}
	return seen.RowsAffected() == 1, version, body, errors.Join(err, results.Close())
}

// postgresBatches has one transaction for many messages, with a statement for each step.
func postgresBatches(name string, share float64) consumption {
	return consumption{name: name, share: share, ordered: true, open: func(ctx context.Context, s *site, handled *countdown) (*handling, error) {
		pool, h, err := openSeen(ctx, s)
		if err != nil {
			return nil, err
		}
		h.run = func(ctx context.Context) error {
			return s.eachBatch(ctx, 100, handled, func(ctx context.Context, batch []jetstream.Msg) error {
				return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return batchOnce(ctx, tx, batch) })
			})
		}
		return h, nil
	}}
}

// batchOnce applies what was not handled before.
func batchOnce(ctx context.Context, tx pgx.Tx, batch []jetstream.Msg) error {
	var ids []string
	for _, m := range batch {
		ids = append(ids, idOf(m))
	}
	fresh := map[string]bool{}
	rows, err := tx.Query(ctx, pgSeeMany, ids)
	if err != nil {
		return err
	}
	var id string
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { fresh[id] = true; return nil }); err != nil {
		return err
	}
	bodies, err := lockAccounts(ctx, tx, batch)
	if err != nil {
		return err
	}
	for _, m := range batch {
		if !fresh[idOf(m)] {
			continue
		}
		delete(fresh, idOf(m)) // it may be in the batch twice
		account, err := accountOf(m.Data())
		if err != nil {
			return err
		}
		if bodies[account], err = applyTo(bodies[account], m.Data()); err != nil {
			return err
		}
	}
	var accounts, changed []string
	for account, body := range bodies {
		accounts, changed = append(accounts, account), append(changed, string(body))
	}
	_, err = tx.Exec(ctx, pgUpdateMany, accounts, changed)
	return err
}

// lockAccounts loads the accounts of a batch.
func lockAccounts(ctx context.Context, tx pgx.Tx, batch []jetstream.Msg) (bodies map[string][]byte, err error) {
	var accounts []string
	for _, m := range batch {
		account, err := accountOf(m.Data())
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, account)
	}
	rows, err := tx.Query(ctx, pgLockMany, accounts)
	if err != nil {
		return nil, err
	}
	bodies = map[string][]byte{}
	var account, body string
	_, err = pgx.ForEachRow(rows, []any{&account, &body}, func() error {
		bodies[account] = []byte(body)
		return nil
	})
	return bodies, err
}

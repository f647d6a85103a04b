package bench

import (
	"context"
	"database/sql"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	sqliteSeen = `CREATE TABLE seen (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID`
	sqliteSee  = `INSERT INTO seen (id) VALUES (?) ON CONFLICT DO NOTHING`
)

// seeing is one connection that writes, with statements that are prepared once.
type seeing struct {
	conn                                     *sql.Conn
	begin, see, load, save, commit, rollback *sql.Stmt
}

// sqliteByHand has one transaction for so many messages.
func sqliteByHand(name string, share float64, size int) consumption {
	return consumption{name: name, share: share, ordered: true, open: func(ctx context.Context, s *site, handled *countdown) (*handling, error) {
		db, err := openSQLite(ctx, s.where, 2, Rows)
		if err != nil {
			return nil, err
		}
		w, err := newSeeing(ctx, db)
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return &handling{
			run: func(ctx context.Context) error {
				if size > 1 {
					return s.eachBatch(ctx, size, handled, w.handle)
				}
				return s.eachMessage(ctx, 1, handled, func(ctx context.Context, m jetstream.Msg) error { return w.handle(ctx, []jetstream.Msg{m}) })
			},
			accounts: func(ctx context.Context) ([]Account, error) { return accountsIn(ctx, db) },
			ids:      func(ctx context.Context) ([]string, error) { return seenIn(ctx, db) },
			end:      func() error { return errors.Join(w.conn.Close(), db.Close()) },
		}, nil
	}}
}

func newSeeing(ctx context.Context, db *sql.DB) (w *seeing, err error) {
	w = &seeing{}
	if w.conn, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	if _, err := w.conn.ExecContext(ctx, sqliteSeen); err != nil {
		return nil, err
	}
	for query, to := range map[string]**sql.Stmt{
		"BEGIN IMMEDIATE": &w.begin, sqliteSee: &w.see, sqliteSelect: &w.load, sqliteUpdate: &w.save, "COMMIT": &w.commit, "ROLLBACK": &w.rollback,
	} {
		if *to, err = w.conn.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// handle is a transaction.
func (w *seeing) handle(ctx context.Context, batch []jetstream.Msg) error {
	if _, err := w.begin.ExecContext(ctx); err != nil {
		return err
	}
	var err error
	for _, m := range batch {
		if err = w.apply(ctx, m); err != nil {
			break
		}
	}
	if err == nil {
		_, err = w.commit.ExecContext(ctx)
	}
	if err != nil {
		_, failed := w.rollback.ExecContext(context.WithoutCancel(ctx))
		return errors.Join(err, failed)
	}
	return nil
}

// apply applies a message that was not handled before.
func (w *seeing) apply(ctx context.Context, m jetstream.Msg) error {
	result, err := w.see.ExecContext(ctx, idOf(m))
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	account, err := accountOf(m.Data())
	if err != nil {
		return err
	}
	var version int64
	var body []byte
	if err := w.load.QueryRowContext(ctx, account).Scan(&version, &body); err != nil {
		return err
	}
	if body, err = applyTo(body, m.Data()); err != nil {
		return err
	}
	if result, err = w.save.ExecContext(ctx, body, account, version); err != nil {
		return err
	}
	return changedOne(result, account)
}

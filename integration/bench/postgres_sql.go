package bench

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// databaseSQL is database/sql by hand, with pgx beneath, which keeps prepared
// statements by itself.
type databaseSQL struct {
	db *sql.DB
	postgresSums
	event Changed
}

func openDatabaseSQL(ctx context.Context, dsn string) (Subject, error) {
	db, sums, err := fillSQL(ctx, dsn, pgx.QueryExecModeCacheStatement)
	return databaseSQL{db, sums, newEvent()}, err
}

func (s databaseSQL) Unit(ctx context.Context, id string, change func(*Account)) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := s.work(ctx, tx, id, change); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (s databaseSQL) work(ctx context.Context, tx *sql.Tx, id string, change func(*Account)) error {
	var version int64
	var body []byte
	if err := tx.QueryRowContext(ctx, pgSelect, id).Scan(&version, &body); err != nil {
		return err
	}
	body, err := edit(body, change)
	if err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, pgUpdate, body, id, version)
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
	_, err = tx.ExecContext(ctx, pgInsert, message, "accounts", id, "Changed", time.Now(), payload)
	return err
}

func (s databaseSQL) Close() error { return s.db.Close() }

package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow"
)

// Few is how many accounts a unit changes of many that it loads, to see what tracking
// costs: by hand one knows which.
const Few = 10

// TrackingPostgres returns both variants on PostgreSQL, with many accounts.
func TrackingPostgres(dsn string, many int) *Store {
	return &Store{
		Name: "tracking, PostgreSQL", Make: makeSchema(dsn), Rows: Few,
		Variants: []Variant{
			{Name: "uow", Open: openPostgresTracked(many)},
			{Name: "pgx by hand", Open: openPostgresUntracked(many)},
		},
	}
}

// TrackingSQLite returns both variants on SQLite, with many accounts.
func TrackingSQLite(dir string, many int) *Store {
	return &Store{
		Name: "tracking, SQLite", Make: makeFolder(dir), Rows: Few,
		Variants: []Variant{
			{Name: "uow", Open: openSQLiteTracked(many)},
			{Name: "database/sql by hand", Open: openSQLiteUntracked(many), Exclusive: true},
		},
	}
}

// few reports whether the account in a place is one that a unit changes.
func few(place, many int) bool { return place%(many/Few) == 0 && place/(many/Few) < Few }

type opener = func(ctx context.Context, where string) (Subject, error)

// tracked is uow.
type tracked struct {
	*units
	sums
	many int
}

// sums is the part of a Subject that asks.
type sums interface {
	Sums(ctx context.Context) (Sums, error)
}

func openPostgresTracked(many int) opener {
	return func(ctx context.Context, dsn string) (Subject, error) {
		s, err := newPostgresUnits(ctx, dsn, many)
		if err != nil {
			return nil, err
		}
		return tracked{s.units, s.postgresSums, many}, nil
	}
}

func openSQLiteTracked(many int) opener {
	return func(ctx context.Context, dir string) (Subject, error) {
		s, err := newSQLiteUnits(ctx, dir, many)
		if err != nil {
			return nil, err
		}
		return tracked{s.units, s, many}, nil
	}
}

// Unit implements Subject; the id is not used.
func (s tracked) Unit(ctx context.Context, _ string, change func(*Account)) error {
	err := s.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		all, err := s.accounts.In(u).Find(ctx, uow.Query{})
		if err != nil {
			return err
		}
		if len(all) != s.many {
			return fmt.Errorf("bench: %d accounts, want %d", len(all), s.many)
		}
		for i, a := range all {
			if few(i, len(all)) {
				change(&a.Account)
			}
		}
		return nil
	})
	if errors.Is(err, uow.ErrConflict) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// row is what one loads by hand.
type row struct {
	version int64
	account Account
}

const selectAll = `SELECT version, body FROM accounts ORDER BY id`

// pgUntracked is pgx by hand: one query, and one batch with the updates.
type pgUntracked struct {
	pool *pgxpool.Pool
	postgresSums
}

func openPostgresUntracked(many int) opener {
	return func(ctx context.Context, dsn string) (Subject, error) {
		sums, err := fillPostgres(ctx, dsn, many)
		if err != nil {
			return nil, err
		}
		pool, err := newPool(ctx, dsn)
		return pgUntracked{pool, sums}, err
	}
}

func (s pgUntracked) Unit(ctx context.Context, _ string, change func(*Account)) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		all, err := loadAll(ctx, tx)
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for i := range all {
			if !few(i, len(all)) {
				continue
			}
			change(&all[i].account)
			body, err := json.Marshal(&all[i].account)
			if err != nil {
				return err
			}
			batch.Queue(pgUpdate, body, all[i].account.ID, all[i].version)
		}
		results := tx.SendBatch(ctx, batch)
		for range batch.Len() {
			tag, err := results.Exec()
			if err == nil && tag.RowsAffected() != 1 {
				err = ErrConflict
			}
			if err != nil {
				return errors.Join(err, results.Close())
			}
		}
		return results.Close()
	})
}

func loadAll(ctx context.Context, tx pgx.Tx) ([]row, error) {
	rows, err := tx.Query(ctx, selectAll)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (out row, err error) {
		var body []byte
		if err := r.Scan(&out.version, &body); err != nil {
			return out, err
		}
		return out, json.Unmarshal(body, &out.account)
	})
}

func (s pgUntracked) Close() error {
	s.pool.Close()
	return nil
}

// sqliteUntracked is database/sql by hand.
type sqliteUntracked struct {
	db        *sql.DB
	all, save *sql.Stmt
}

func openSQLiteUntracked(many int) opener {
	return func(ctx context.Context, dir string) (Subject, error) {
		db, err := openSQLite(ctx, dir, 1, many)
		if err != nil {
			return nil, err
		}
		s := sqliteUntracked{db: db}
		if s.all, err = db.PrepareContext(ctx, selectAll); err != nil {
			return nil, err
		}
		s.save, err = db.PrepareContext(ctx, sqliteUpdate)
		return s, err
	}
}

func (s sqliteUntracked) Unit(ctx context.Context, _ string, change func(*Account)) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := s.work(ctx, tx, change); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (s sqliteUntracked) work(ctx context.Context, tx *sql.Tx, change func(*Account)) error {
	all, err := scanAll(ctx, tx.StmtContext(ctx, s.all))
	if err != nil {
		return err
	}
	for i := range all {
		if !few(i, len(all)) {
			continue
		}
		a := &all[i].account
		change(a)
		body, err := json.Marshal(a)
		if err != nil {
			return err
		}
		result, err := tx.StmtContext(ctx, s.save).ExecContext(ctx, body, a.ID, all[i].version)
		if err != nil {
			return err
		}
		if err := changedOne(result, a.ID); err != nil {
			return err
		}
	}
	return nil
}

func scanAll(ctx context.Context, stmt *sql.Stmt) (all []row, err error) {
	rows, err := stmt.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		var body []byte
		if err := rows.Scan(&r.version, &body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &r.account); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

func (s sqliteUntracked) Sums(ctx context.Context) (Sums, error) {
	return sqliteSums(ctx, s.db, "outbox")
}

func (s sqliteUntracked) Close() error { return s.db.Close() }

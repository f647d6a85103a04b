package bench

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/postgres"
)

// Postgres returns the variants on the PostgreSQL server of the dsn, a URL. Each run
// has a schema of its own. All variants have as many connections and the server's
// settings; those by hand, and all peers, are at READ COMMITTED.
func Postgres(dsn string) *Store {
	return &Store{
		Name: "postgres", Make: makeSchema(dsn), Rows: 1, Messages: 1,
		Variants: []Variant{
			{Name: "uow", Open: openPostgresUnits},
			{Name: "pgx, five trips", Open: openFiveTrips},
			{Name: "pgx, two trips", Open: openTwoTrips},
			{Name: "database/sql", Open: openDatabaseSQL},
			{Name: "go-transaction-manager", Open: openManager},
			{Name: "freerware/work", Open: openWork},
			{Name: "GORM", Open: openGORM},
			{Name: "ent", Open: openEnt},
			{Name: "bun", Open: openBun},
			{Name: "bob", Open: openBob},
		},
	}
}

func makeSchema(dsn string) func(context.Context) (string, func() error, error) {
	return func(ctx context.Context) (where string, remove func() error, err error) {
		u, err := url.Parse(dsn)
		if err != nil {
			return "", nil, fmt.Errorf("bench: the dsn of PostgreSQL is no URL: %w", err)
		}
		schema := fmt.Sprintf("uow_bench_%d", time.Now().UnixNano())
		if err := execute(ctx, dsn, "CREATE SCHEMA "+schema); err != nil {
			return "", nil, err
		}
		query := u.Query()
		query.Set("search_path", schema)
		u.RawQuery = query.Encode()
		return u.String(), func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			return execute(ctx, dsn, "SET client_min_messages = warning; DROP SCHEMA "+schema+" CASCADE")
		}, nil
	}
}

// execute runs SQL on a connection of its own.
func execute(ctx context.Context, dsn, query string) error {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, query, pgx.QueryExecModeSimpleProtocol)
	return err
}

// pgUnits is uow.
type pgUnits struct {
	*units
	postgresSums
}

func openPostgresUnits(ctx context.Context, dsn string) (Subject, error) {
	s, err := newPostgresUnits(ctx, dsn, Rows)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func newPostgresUnits(ctx context.Context, dsn string, rows int) (*pgUnits, error) {
	s := &pgUnits{postgresSums: postgresSums{dsn, "uow_outbox"}}
	var err error
	s.units, err = newUnits(ctx, rows, func(cfg uow.Config) (*uow.DB, error) {
		return postgres.Options{MaxConns: Conns}.Open(ctx, dsn, cfg)
	})
	if err != nil {
		return nil, err
	}
	return s, execute(ctx, dsn, "ANALYZE accounts")
}

// postgresSums asks what is in the database.
type postgresSums struct{ dsn, outbox string }

func (s postgresSums) Sums(ctx context.Context) (sums Sums, err error) {
	c, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		return sums, err
	}
	defer c.Close(ctx)
	err = c.QueryRow(ctx, `SELECT sum(version - 1)::bigint, sum((body->>'Balance')::bigint)::bigint,
		(SELECT count(*) FROM `+s.outbox+`) FROM accounts`).Scan(&sums.Changes, &sums.Balance, &sums.Messages)
	return sums, err
}

const (
	pgTables = `
		CREATE TABLE accounts (id text PRIMARY KEY, version bigint NOT NULL, body json NOT NULL);
		CREATE TABLE outbox (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL, topic text NOT NULL,
			ordering_key text NOT NULL, type text NOT NULL, created_at timestamptz NOT NULL, payload bytea)`
	pgSelect = `SELECT version, body FROM accounts WHERE id = $1`
	pgUpdate = `UPDATE accounts SET version = version + 1, body = $1 WHERE id = $2 AND version = $3`
	pgInsert = `INSERT INTO outbox (id, topic, ordering_key, type, created_at, payload) VALUES ($1, $2, $3, $4, $5, $6)`
)

// fillPostgres makes the tables of all variants but uow, with rows.
func fillPostgres(ctx context.Context, dsn string, rows int) (postgresSums, error) {
	sums := postgresSums{dsn, "outbox"}
	ids, bodies, err := accounts(rows)
	if err != nil {
		return sums, err
	}
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return sums, err
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, pgTables, pgx.QueryExecModeSimpleProtocol); err != nil {
		return sums, err
	}
	if _, err := c.Exec(ctx, `INSERT INTO accounts SELECT id, 1, body::json FROM unnest($1::text[], $2::text[]) AS a (id, body)`, ids, bodies); err != nil {
		return sums, err
	}
	_, err = c.Exec(ctx, "ANALYZE accounts")
	return sums, err
}

// newPool opens pgx's pool.
func newPool(ctx context.Context, dsn string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = Conns
	return pgxpool.NewWithConfig(ctx, cfg)
}

// newSQL opens database/sql's pool on pgx.
func newSQL(dsn string, mode pgx.QueryExecMode) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.DefaultQueryExecMode = mode
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(Conns)
	db.SetMaxIdleConns(Conns)
	return db, nil
}

// fillSQL makes the tables, and opens database/sql's pool.
func fillSQL(ctx context.Context, dsn string, mode pgx.QueryExecMode) (*sql.DB, postgresSums, error) {
	sums, err := fillPostgres(ctx, dsn, Rows)
	if err != nil {
		return nil, sums, err
	}
	db, err := newSQL(dsn, mode)
	return db, sums, err
}

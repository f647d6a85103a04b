package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow"
)

// Isolation is the isolation level of transactions that write. Whatever it is, all
// reads of a unit see one snapshot, and no change is lost, since the version of each
// row is checked as it is written: see the package's documentation.
type Isolation uint8

const (
	// ReadCommitted commits at READ COMMITTED. A unit holds no transaction open but
	// for its snapshot, unless it flushes or runs its own SQL.
	ReadCommitted Isolation = iota
	// RepeatableRead reads and writes in one REPEATABLE READ transaction.
	RepeatableRead
	// Serializable reads and writes in one SERIALIZABLE transaction, which the
	// server refuses with a retryable error where units that ran at the same time
	// could not have run one after the other.
	Serializable
)

// Statements says how statements reach the server.
type Statements uint8

const (
	// Prepared keeps statements on each connection: the server parses and, mostly,
	// plans them once. Poolers in transaction mode must know of prepared statements
	// (PgBouncer from 1.21, with max_prepared_statements).
	Prepared Statements = iota
	// Unprepared sends each statement with its text, for poolers in transaction mode
	// that know of no prepared statements. Round trips stay the same.
	Unprepared
)

// Bodies is the column type of aggregates' bodies.
type Bodies uint8

const (
	// JSON keeps bodies as json: the user's SQL can look into them (body->>'Owner')
	// and each byte comes back as it was, so that an unchanged aggregate is seen by
	// comparing bytes. The type jsonb would rearrange them, and refuse \u0000.
	JSON Bodies = iota
	// Bytes keeps bodies as bytea, for codecs that do not make JSON.
	Bytes
)

// Options are the knobs of a store. The zero value has all defaults.
type Options struct {
	// Pool is an existing pool to use: the dsn must be empty then, MaxConns zero,
	// and Close leaves the pool open. Default: none, the store opens its own.
	Pool *pgxpool.Pool

	// Schema is where the tables are. It is created where missing. Default: the
	// first one of the connection's search path.
	Schema string

	// Isolation is the isolation level of transactions that write. Default:
	// ReadCommitted.
	Isolation Isolation

	// Statements says how statements reach the server. Default: Prepared.
	Statements Statements

	// Bodies is the column type of aggregates' bodies in tables that are created;
	// those that exist must have it. Default: JSON.
	Bodies Bodies

	// FixedSchema leaves the schema to the user's own migrations, for which SchemaSQL
	// has the text: Open creates and changes nothing, and returns ErrMismatch where
	// something is missing, with the SQL that makes it. Default: false, Open creates
	// what is missing.
	FixedSchema bool

	// MaxConns is the greatest number of connections of the store's own pool. Each
	// unit has one from its first read to its end, the others wait; beside the pool
	// there is one that listens while Subscribe has subscribers. Default: the dsn's
	// pool_max_conns, else 16.
	MaxConns int

	// CommitTimeout is how long a commit may take, waiting for locks included,
	// after which its connection is given up and the unit is in doubt. A commit does
	// not heed its context any more. Default: 30 s.
	CommitTimeout time.Duration

	// Volatile lets relays publish from a server that runs with fsync = off, and so may
	// lose what was published. Default: false, they end with outbox.ErrNotDurable.
	// Whatever it is, relays wait for what was committed with synchronous_commit = off.
	Volatile bool

	// MarkerRetention is for how long the database remembers which units were
	// committed, and Resolve can find out. Default: 1 h.
	MarkerRetention time.Duration
}

// Open opens the database that the dsn names, with default Options, and the DB on
// it. The dsn is a URL or a list of key=value, as libpq and pgx take it.
func Open(ctx context.Context, dsn string, cfg uow.Config) (*uow.DB, error) {
	return Options{}.Open(ctx, dsn, cfg)
}

// Open opens the database that the dsn names, with these options, and the DB on it.
func (o Options) Open(ctx context.Context, dsn string, cfg uow.Config) (*uow.DB, error) {
	store, err := o.OpenStore(ctx, dsn)
	if err != nil {
		return nil, err
	}
	db, err := uow.Open(ctx, store, cfg)
	if err != nil {
		_ = store.Close() // the first error tells more
		return nil, err
	}
	return db, nil
}

// OpenStore opens the database with default Options. It is for tests and tools that
// need the store itself; others call Open.
func OpenStore(ctx context.Context, dsn string) (*Store, error) {
	return Options{}.OpenStore(ctx, dsn)
}

func (o Options) withDefaults() Options {
	if o.CommitTimeout == 0 {
		o.CommitTimeout = 30 * time.Second
	}
	if o.MarkerRetention == 0 {
		o.MarkerRetention = time.Hour
	}
	return o
}

func (o Options) validate(dsn string) error {
	switch {
	case o.Pool != nil && dsn != "":
		return fmt.Errorf("postgres: Options.Pool and a dsn are given: want one of them")
	case o.Pool != nil && o.MaxConns != 0:
		return fmt.Errorf("postgres: Options.MaxConns is for the store's own pool, and Options.Pool is given")
	case o.MaxConns < 0 || o.MaxConns > 10_000:
		return fmt.Errorf("postgres: Options.MaxConns is %d", o.MaxConns)
	case o.Isolation > Serializable:
		return fmt.Errorf("postgres: Options.Isolation is %d", o.Isolation)
	case o.Statements > Unprepared:
		return fmt.Errorf("postgres: Options.Statements is %d", o.Statements)
	case o.Bodies > Bytes:
		return fmt.Errorf("postgres: Options.Bodies is %d", o.Bodies)
	case o.CommitTimeout < 0 || o.MarkerRetention < 0:
		return fmt.Errorf("postgres: Options.CommitTimeout is %v and MarkerRetention %v: want none below zero", o.CommitTimeout, o.MarkerRetention)
	case len(o.Schema) > 63 || strings.IndexByte(o.Schema, 0) >= 0:
		return fmt.Errorf("postgres: Options.Schema is %q: want at most 63 bytes", o.Schema)
	}
	return nil
}

// newPool opens the store's own pool. Errors of pgx have the password removed.
func (o Options) newPool(ctx context.Context, dsn string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("postgres: open: %w", err)
	}
	switch {
	case o.MaxConns > 0:
		cfg.MaxConns = int32(o.MaxConns)
	case !strings.Contains(dsn, "pool_max_conns"):
		cfg.MaxConns = 16
	}
	if o.Statements == Unprepared && cfg.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // for the user's own SQL
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("postgres: open: %w", err)
	}
	return pool, nil
}

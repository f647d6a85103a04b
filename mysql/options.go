package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	sqldriver "database/sql/driver"

	"github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow"
)

// Isolation is the isolation level of transactions that write. Whatever it is, all
// reads of a unit see one snapshot, and no change is lost, since the version of each
// row is checked as it is written: see the package's documentation.
type Isolation uint8

const (
	// ReadCommitted commits at READ COMMITTED. A unit holds no transaction open but
	// for its snapshot, unless it flushes, locks rows or runs its own SQL.
	ReadCommitted Isolation = iota
	// RepeatableRead reads and writes in one REPEATABLE READ transaction. Its writes
	// lock gaps between rows too, so that units which insert may deadlock, and are
	// retryable then.
	RepeatableRead
	// Serializable reads and writes in one SERIALIZABLE transaction: what a unit
	// reads is locked until its end, and units that wait for each other are
	// refused with a retryable error.
	Serializable
)

// unknownLevel is the own level of connections of which nothing is known.
const unknownLevel Isolation = 255

// Bodies is the column type of aggregates' bodies.
type Bodies uint8

const (
	// JSON keeps bodies as LONGTEXT: the user's SQL can look into them
	// (JSON_VALUE(body, '$.Owner')), and each byte comes back as it was, so that an
	// unchanged aggregate is seen by comparing bytes. MySQL's type JSON would
	// rearrange them.
	JSON Bodies = iota
	// Bytes keeps bodies as LONGBLOB, for codecs that do not make UTF-8.
	Bytes
)

// Options are the knobs of a store. The zero value has all defaults.
type Options struct {
	// DB is an existing pool of github.com/go-sql-driver/mysql to use: the dsn must
	// be empty then, MaxConns zero, and Close leaves the pool open. Its connections
	// must have multiStatements and clientFoundRows, the character set utf8mb4 and a
	// strict sql_mode, which is checked. Default: none, the store opens its own, which
	// has all that.
	DB *sql.DB

	// Isolation is the isolation level of transactions that write. Default:
	// ReadCommitted.
	Isolation Isolation

	// Bodies is the column type of aggregates' bodies in tables that are created;
	// those that exist must have it. Default: JSON.
	Bodies Bodies

	// MaxConns is the greatest number of connections of the store's own pool. Each
	// unit has one from its first read to its end, the others wait. Default: 16.
	MaxConns int

	// CommitTimeout is how long a commit may take, waiting for locks included,
	// after which its connection is given up and the unit is in doubt. A commit does
	// not heed its context any more. In the store's own pool a lock is waited for
	// two thirds of it, unless the dsn sets innodb_lock_wait_timeout. Default: 30 s.
	CommitTimeout time.Duration

	// Volatile lets relays publish from a server that runs with settings by which a
	// power loss takes commits back: innodb_flush_log_at_trx_commit other than 1 (or 3),
	// or a binary log with sync_binlog other than 1. Default: false, they end with
	// outbox.ErrNotDurable.
	Volatile bool

	// MarkerRetention is for how long the database remembers which units were
	// committed, and Resolve can find out. Default: 1 h.
	MarkerRetention time.Duration

	// FixedSchema leaves the schema to the user's own migrations, for which SchemaSQL
	// has the text: Open creates and changes nothing, and returns ErrMismatch where
	// something is missing, with what it has to be. Default: false, Open creates what is
	// missing.
	FixedSchema bool
}

// Open opens the database that the dsn names, with default Options, and the DB on
// it. The dsn is one of github.com/go-sql-driver/mysql: user:password@tcp(host)/name.
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
	if o.MaxConns == 0 {
		o.MaxConns = 16
	}
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
	case o.DB != nil && dsn != "":
		return fmt.Errorf("mysql: Options.DB and a dsn are given: want one of them")
	case o.DB != nil && o.MaxConns != 0:
		return fmt.Errorf("mysql: Options.MaxConns is for the store's own pool, and Options.DB is given")
	case o.MaxConns < 0 || o.MaxConns > 10_000:
		return fmt.Errorf("mysql: Options.MaxConns is %d", o.MaxConns)
	case o.Isolation > Serializable:
		return fmt.Errorf("mysql: Options.Isolation is %d", o.Isolation)
	case o.Bodies > Bytes:
		return fmt.Errorf("mysql: Options.Bodies is %d", o.Bodies)
	case o.CommitTimeout < 0 || o.MarkerRetention < 0:
		return fmt.Errorf("mysql: Options.CommitTimeout is %v and MarkerRetention %v: want none below zero", o.CommitTimeout, o.MarkerRetention)
	}
	return nil
}

// sqlMode is strict, and reads quotes and operators in the standard way of MySQL. It
// has modes only that both MySQL and MariaDB know.
const sqlMode = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

// newPool opens the store's own pool. It connects when it is first used.
func (o Options) newPool(dsn string) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		// The error may have parts of the dsn in it.
		return nil, fmt.Errorf("mysql: open: the dsn is not of the form user:password@tcp(host:port)/database?parameter=value")
	}
	if cfg.DBName == "" {
		return nil, fmt.Errorf("mysql: open: the dsn names no database")
	}
	cfg.ClientFoundRows = true
	cfg.MultiStatements = true
	cfg.MaxAllowedPacket = 1 << 30  // the server's own limit is heeded
	cfg.Logger = &mysql.NopLogger{} // what it would say is in the errors
	if err := cfg.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, fmt.Errorf("mysql: open: %w", err)
	}
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	if cfg.Params["time_zone"] == "" { // as the driver's loc, and all times here
		cfg.Params["time_zone"] = "'+00:00'"
	}
	cfg.Params["sql_mode"] = "'" + sqlMode + "'"
	if cfg.Params["innodb_lock_wait_timeout"] == "" {
		wait := max(1, int(o.CommitTimeout*2/3/time.Second))
		cfg.Params["innodb_lock_wait_timeout"] = strconv.Itoa(wait)
	}
	_, chosen := cfg.Params["innodb_snapshot_isolation"]
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("mysql: open: %w", err)
	}
	db := sql.OpenDB(ownConnector{connector, chosen})
	db.SetMaxOpenConns(o.MaxConns)
	db.SetMaxIdleConns(o.MaxConns)
	db.SetConnMaxIdleTime(10 * time.Minute)
	return db, nil
}

// ownConnector gives connections with settings that are not the same statement on all
// servers: their transactions are at REPEATABLE READ where nothing else is said, as
// those that read are; and MariaDB does not end a transaction because a row was changed after its snapshot,
// unless the dsn wants that, since the versions are checked all the same, and a nested
// part could not be undone by itself.
type ownConnector struct {
	sqldriver.Connector
	chosen bool // innodb_snapshot_isolation, by the dsn
}

// Connect implements driver.Connector of database/sql.
func (c ownConnector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	raw, ok := conn.(sqldriver.ExecerContext)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: the driver's connections can't be used: %T", ErrServer, conn)
	}
	_, err = raw.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", nil)
	if err == nil && !c.chosen {
		_, err = raw.ExecContext(ctx, "SET SESSION innodb_snapshot_isolation = 0", nil)
		if code(err) == codeUnknownVariable { // the server has no such thing
			err = nil
		}
	}
	if err != nil {
		_ = conn.Close() // the first error tells more
		return nil, err
	}
	return conn, nil
}

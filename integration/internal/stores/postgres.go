package stores

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/faultproxy"
	"github.com/uow-go/uow/integration/internal/servers"
	"github.com/uow-go/uow/postgres"
)

func postgresStores(local *servers.Local) []Store {
	var list []Store
	var schemas atomic.Int64
	for _, level := range []struct {
		name  string
		value postgres.Isolation
	}{
		{"postgres", postgres.ReadCommitted},
		{"postgres repeatable read", postgres.RepeatableRead},
		{"postgres serializable", postgres.Serializable},
	} {
		list = append(list, Store{
			Name:    level.name,
			Variant: level.value != postgres.ReadCommitted,
			Server: &Server{
				Protocol: faultproxy.Postgres{},
				Deadlock: "40P01",
				Address:  func(t testing.TB) string { return address(t, local.Postgres(t)) },
			},
			open: func(t testing.TB, o Options) *Database {
				t.Helper()
				if o.Name == "" {
					o.Name = fmt.Sprintf("uow_chaos_%d_%d", os.Getpid(), schemas.Add(1))
					dropSchema(t, local.Postgres(t), o.Name)
				}
				return Postgres(t, local.Postgres(t), o, postgres.Options{Isolation: level.value, CommitTimeout: o.CommitTimeout})
			},
		})
	}
	return list
}

// Postgres opens a database on the server of a dsn, in the schema o.Name.
func Postgres(t testing.TB, dsn string, o Options, options postgres.Options) *Database {
	t.Helper()
	p := &pgDatabase{schema: pgx.Identifier{o.Name}.Sanitize(), application: o.Name, dsn: dsn}
	if o.Address != "" {
		dsn = through(t, dsn, o.Address)
		p.application += " by proxy"
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = int32(max(o.MaxConns, 1))
	cfg.ConnConfig.RuntimeParams["application_name"] = p.application
	if p.pool, err = pgxpool.NewWithConfig(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.pool.Close)
	options.Pool, options.Schema = p.pool, o.Name
	db, err := options.Open(t.Context(), "", o.Config)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, db)
	if err := p.exec(t.Context(), "CREATE TABLE IF NOT EXISTS "+p.schema+".notes (text text NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	return &Database{
		DB: db, Name: o.Name,
		InUse:    func() int { return int(p.pool.Stat().AcquiredConns()) },
		CloseAll: p.pool.Close,
		Sessions: p.sessions, Mark: p.mark, Note: p.note, Notes: p.notes,
	}
}

// pgDatabase is a schema on a server.
type pgDatabase struct {
	pool                     *pgxpool.Pool
	schema, application, dsn string
}

// exec runs a statement apart from the pool.
func (p *pgDatabase) exec(ctx context.Context, sql string) error {
	return p.apart(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET client_min_messages = warning; "+sql, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// apart runs fn on a connection to the server itself.
func (p *pgDatabase) apart(ctx context.Context, fn func(c *pgx.Conn) error) error {
	c, err := pgx.Connect(ctx, p.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	return fn(c)
}

func (p *pgDatabase) sessions(ctx context.Context) (all, busy int, err error) {
	err = p.apart(ctx, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%')
			FROM pg_stat_activity WHERE application_name = $1`, p.application).Scan(&all, &busy)
	})
	return all, busy, err
}

func (p *pgDatabase) mark(ctx context.Context, unit string) (there bool, err error) {
	err = p.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+p.schema+`.uow_units WHERE unit = $1::uuid AND NOT fenced)`, unit).Scan(&there)
	return there, err
}

func (p *pgDatabase) note(ctx context.Context, u *uow.Unit, text string) error {
	_, err := postgres.Tx(u).Exec(ctx, `INSERT INTO `+p.schema+`.notes VALUES ($1)`, text)
	return err
}

func (p *pgDatabase) notes(ctx context.Context, u *uow.Unit, prefix string) (map[string]int, error) {
	rows, err := postgres.Tx(u).Query(ctx, `SELECT text, count(*) FROM `+p.schema+`.notes WHERE starts_with(text, $1) GROUP BY text`, prefix)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return counts(rows)
}

func dropSchema(t testing.TB, dsn, name string) {
	p := &pgDatabase{dsn: dsn}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{name}.Sanitize()+" CASCADE"); err != nil {
			t.Errorf("drop schema %s: %v", name, err)
		}
	})
}

// address returns where the server of a dsn listens.
func address(t testing.TB, dsn string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
}

// through returns the dsn, a URL or key=value, with another address.
func through(t testing.TB, dsn, address string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" {
		host, port, _ := net.SplitHostPort(address)
		return dsn + " host=" + host + " port=" + port
	}
	u.Host = address
	return u.String()
}

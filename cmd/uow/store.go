package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/admin"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

// open opens the database, in which it makes nothing, and its operations.
func (c *command) open(ctx context.Context, withInbox bool) (ops *admin.Ops, closeAll func(), err error) {
	var cfg uow.Config
	records := inbox.NewRecords()
	if withInbox {
		cfg.Collections = records.Collections()
	}
	db, err := c.openDB(ctx, cfg)
	if err != nil {
		return nil, nil, explain(err, withInbox)
	}
	closeAll = func() { _ = db.Close() } // what was done is committed
	log, err := outbox.Of(db)
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	ac := admin.Config{Log: log, Logger: slog.New(slog.NewTextHandler(c.err, nil))}
	if withInbox {
		ac.DB, ac.Records = db, records
	}
	if ops, err = admin.New(ac); err != nil {
		closeAll()
		return nil, nil, err
	}
	return ops, closeAll, nil
}

func (c *command) openDB(ctx context.Context, cfg uow.Config) (*uow.DB, error) {
	dsn := c.flags.store
	scheme, rest, _ := strings.Cut(dsn, "://")
	switch {
	case dsn == "":
		return nil, usage("which database? Give --store, or set UOW_STORE")
	case scheme == "postgres" || scheme == "postgresql":
		return postgres.Options{FixedSchema: true, Schema: c.flags.schema, MaxConns: 4}.Open(ctx, dsn, cfg)
	case c.flags.schema != "":
		return nil, usage("--schema is for PostgreSQL")
	case scheme == "mysql" || scheme == "mariadb":
		native, err := mysqlDSN(dsn)
		if err != nil {
			return nil, err
		}
		return mysql.Options{FixedSchema: true, MaxConns: 4}.Open(ctx, native, cfg)
	case scheme == "sqlite":
		dsn = rest
	case strings.Contains(dsn, "://"):
		return nil, usage("there are no databases of the kind %q: want a file, postgres:// or mysql://", scheme)
	}
	if info, err := os.Stat(dsn); err != nil || info.IsDir() {
		return nil, fmt.Errorf("%s is no database file", dsn)
	}
	return sqlite.Options{FixedSchema: true, Readers: 2}.Open(ctx, dsn, cfg)
}

// mysqlDSN makes what the driver takes of a URL.
func mysqlDSN(dsn string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", usage("the store is not of the form mysql://user:password@host:port/name") // the error has the password
	}
	cfg := driver.NewConfig()
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.Net, cfg.DBName = "tcp", strings.TrimPrefix(u.Path, "/")
	cfg.Addr = u.Host
	if u.Port() == "" {
		cfg.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	native := cfg.FormatDSN()
	if u.RawQuery != "" {
		if strings.Contains(native, "?") {
			return native + "&" + u.RawQuery, nil
		}
		native += "?" + u.RawQuery
	}
	return native, nil
}

// explain says of a database that is not of the library what is wrong with it.
func explain(err error, withInbox bool) error {
	if !errors.Is(err, sqlite.ErrMismatch) && !errors.Is(err, postgres.ErrMismatch) && !errors.Is(err, mysql.ErrMismatch) {
		return err
	}
	what := "an outbox of this version"
	if withInbox {
		what += " and inboxes"
	}
	reason, _, _ := strings.Cut(err.Error(), ";")
	return fmt.Errorf("the database has not %s, and this command makes nothing: %s", what, reason)
}

// withoutPassword takes the password of a store out of a text.
func withoutPassword(text, store string) string {
	u, err := url.Parse(store)
	if err != nil || u.User == nil {
		if _, rest, ok := strings.Cut(store, "://"); ok && strings.Contains(rest, "@") {
			return strings.ReplaceAll(text, store, "the store")
		}
		return text
	}
	password, ok := u.User.Password()
	if !ok || password == "" {
		return text
	}
	for _, secret := range []string{store, password, url.QueryEscape(password), url.PathEscape(password)} {
		text = strings.ReplaceAll(text, secret, "xxxxx")
	}
	return text
}

package main

import (
	"context"
	"fmt"

	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

// inbox lists marks.
func (c *command) inbox(ctx context.Context) error {
	if err := c.noArguments(); err != nil {
		return err
	}
	filter := inbox.Filter{Consumer: c.flags.consumer, Source: c.flags.source, Limit: c.flags.limit, After: c.flags.page}
	if ids := c.flags.filter.IDs; len(ids) > 1 {
		return usage("inbox ls: one --id at a time")
	} else if len(ids) == 1 {
		filter.ID = ids[0]
	}
	ops, done, err := c.open(ctx, true)
	if err != nil {
		return err
	}
	defer done()
	page, err := ops.Marks(ctx, filter)
	if err != nil {
		return err
	}
	return c.print(page, func() { c.printMarks(page) })
}

// streams lists the places of a consumer.
func (c *command) streams(ctx context.Context) error {
	if err := c.noArguments(); err != nil {
		return err
	}
	if c.flags.consumer == "" {
		return usage("inbox streams: whose? Give --consumer")
	}
	ops, done, err := c.open(ctx, true)
	if err != nil {
		return err
	}
	defer done()
	page, err := ops.Streams(ctx, c.flags.consumer, c.flags.page, c.flags.limit)
	if err != nil {
		return err
	}
	return c.print(page, func() { c.printStreams(page) })
}

// schema prints the SQL that makes the outbox' tables.
func (c *command) schema(context.Context) (err error) {
	if len(c.flags.rest) != 1 {
		return usage("schema: of which database? Want sqlite or postgres")
	}
	var sql string
	switch c.flags.rest[0] {
	case "sqlite":
		sql, err = sqlite.SchemaSQL(c.flags.from)
	case "postgres":
		sql, err = postgres.Options{Schema: c.flags.schema}.SchemaSQL(c.flags.from)
	case "mysql", "mariadb":
		return usage("schema: there is no SQL for %s: opening the database makes the tables", c.flags.rest[0])
	default:
		return usage("schema: there are no databases of the kind %q: want sqlite or postgres", c.flags.rest[0])
	}
	if err != nil {
		return usage("%s", err)
	}
	fmt.Fprint(c.out, sql)
	return nil
}

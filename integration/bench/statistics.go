package bench

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// The server's statistics have what a session did when it has ended for certain, and else
// some seconds later.

// inOutbox does something with a database that is closed at once, and returns when c finds
// in the statistics all that was done.
func inOutbox(ctx context.Context, where string, c *pgx.Conn, do func(db *uow.DB, log outbox.Log) error) error {
	u, err := url.Parse(where)
	if err != nil {
		return err
	}
	query := u.Query()
	name := "measured-" + query.Get("search_path") // a space would come as a plus sign
	query.Set("application_name", name)
	u.RawQuery = query.Encode()
	db, err := openPostgresOutbox(ctx, u.String())
	if err != nil {
		return err
	}
	log, err := outbox.Of(db)
	if err == nil {
		err = do(db, log)
	}
	var there bool
	if err == nil {
		err = c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1)`, name).Scan(&there)
	}
	if err == nil && !there {
		err = errors.New("bench: the server does not know the database's sessions by their name")
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return until(ctx, c, `SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1)`, name)
}

// until asks again and again until the answer is yes.
func until(ctx context.Context, c *pgx.Conn, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var yes bool
		if err := c.QueryRow(ctx, query, args...).Scan(&yes); err != nil || yes {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
